"""The flags of each command: `generate`, `transform`, `validate`, `train`, `eval`.

Each file parses its arguments, imports late, so that `--help` answers at once, and calls one
function of `cli.views`.
"""
