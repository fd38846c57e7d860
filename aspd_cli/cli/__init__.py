"""The `aspd` program, from the outside in.

- `main`: the program, its commands, and the one place where an error becomes a sentence and a code
- `commands`: the flags of each command; each file parses, imports late and calls one view
- `views`: what a person sees of a run: progress, tables, the live answer
- `command`: the help page of every command, and how its flags may be spelled
- `options`: flags that several commands share
- `progress`: how far a run has come, on a terminal, in a pipe, or not at all with --quiet
- `libraries`: what transformers and its relatives tell on standard error, turned off

A command calls a view, a view calls the domain (`engine`, `transform`, `train`, `evaluate`,
`report`); nothing outside of this package imports it.
"""
