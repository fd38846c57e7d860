"""The same decoding on stock vLLM, token for token.

In reading order:

- `connector`: one file that runs inside vLLM and imports nothing of ours: it keeps the keys and
  values of branches and puts them where a recomputation was due
- `token_engine`: what is asked of vLLM, and what it tells
- `in_process`, `server`: the two ways to reach it
- `held`: which keys and values are kept, and how lost ones are made again
- `tracks`: what stands in vLLM for an answer, lane by lane
- `lane_requests`: what its lanes ask of vLLM
- `planner`: the step loop
- `model`: what is known of a model whose weights vLLM holds
- `decoder`: the calls a user makes, and vLLM checked before the first
- `self_test`: whether this vLLM stitches right
- `command`: the command line of a server of vLLM
"""
