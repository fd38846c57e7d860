"""The endpoint back end: a model proposes a document, and a judge accepts it.

In reading order:

- `backend`: proposals, verdicts, and which proposal becomes the document
- `annotate`: a model groups the answer's segments; its text is never written again
- `naming`: titles of what a model proposes, from its text
- `segments`: the answer as the pieces that may be grouped
- `rewrite`: a model writes the answer again with tags, the paper's way
- `judge`: a verdict, asked for several times
- `prompts`: the wording of all requests, as text files
"""
