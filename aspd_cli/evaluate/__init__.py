"""Quality and speed of systems: systems x prompts -> answers -> tables.

In reading order:

- `run`: one evaluation; `job` is what it was told
- `systems`: what is compared: our engine in its modes, `hf_generate`, transformers' own, and
  `served`, servers
- `requests`: what a system is asked, and what is reported of its answer
- `speed`: speed alone, on prompts (`prompt_sets`) or on documents that the engine is led through
  (`replay`)
- `content_loss`: what independence costs, as the loss on the content of given documents
- `interleave`: systems take turns, prompt by prompt
- `timeline`: when each lane of an answer was decoded
- `results`: systems and answers, to JSON and back; `figures`: what is made of them
- `measures`: what is measured of answers; `latency`: the tables of speed
- `lm_eval`: tasks of lm-eval
- `judge`: benches that a judge grades
- `machine`, `processes`: versions and device of a run, and several processes at the same work
"""
