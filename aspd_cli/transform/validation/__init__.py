"""Checks of training data (`aspd validate`), in reading order.

- `findings`: what is found, with its place
- `checks`: one record to its findings, without a model
- `originals`: the records of a source: lost, doubled, reordered, changed
- `repair`: a record without what was found, by flattening or dropping
- `rejudge`: the judge is asked a second time
"""
