"""The input of a transform, in reading order.

- `readers`: values out of a file, standard input or the Hub
- `formats`: the forms in which training data come, each turned into a conversation
- `notations`: answers that others have marked up, as documents of ours; `tags`: what stands between
  the tags of a release; `paths`: the document of texts and paths
- `records`: conversations to transform, and what is none with the reason why
- `concurrency`: many records at once, their results in order
"""
