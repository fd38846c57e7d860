"""The hybrid serial-parallel decoding engine: many lanes, one sequence, one key-value cache.

In reading order:

- `decoder`: the calls a user makes: `generate`, `stream`
- `options`, `events`: what goes in, and what comes out while an answer grows
- `scheduler`: the step loop: who holds a row, what a step feeds, who samples
- `request`: a prompt in the queue, its answer, and what was measured of it
- `answer`: one answer in flight: fork, merge, close, budgets
- `lane`, `grammar`: one line of decoding, and which tokens it may sample next
- `sampler`: from logits to tokens
- `drafts`: guesses at what a lane samples next, checked in the same step
- `detokenize`: from tokens to text and to a document
- `document_order`, `until_stop`: events as a reader of one text sees them, up to a stop string
- `forced_tokens`: a given structure in place of what the model would choose
- `model_runner`: one step of the model
- `scoring`: log-probabilities of given tokens
- `kv_cache`: keys and values of all lanes
- `attention`: where the tokens of a step stand, and what they see
- `cuda_graph`, `packed_linear`: the same step in less time, on a GPU and on a CPU
- `loading`, `lora`, `compatibility`: from a name to a decoder that is known to be right
"""
