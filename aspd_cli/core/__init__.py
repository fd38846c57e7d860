"""The rules of ASPD as pure functions: no file is opened and no model is loaded here.

In reading order:

- `forms`: how the titles of a block are written where the reader sees them
- `markup`: an answer as a tree of texts and blocks, and its grammar
- `parser`: from markup to the tree
- `codec`: text to token ids and back, and the six control tokens
- `layout`: a document as tokens: ids, positions, lanes, and which tokens are sampled
- `visibility`: which lane sees which, behind the masks of training and of decoding
- `chat_template`: what a chat template does with roles and contents
- `chat`: prompts by it, the same in training and in decoding
- `metrics`: each measure that is reported, defined once
"""
