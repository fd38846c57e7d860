"""What a person sees of a command, in reading order.

- `generate`: one prompt, and how its answer is shown
- `live`: the answer on a terminal while it is decoded, branches side by side
- `answers_file`: a file of prompts to a file of answers, resumable
- `transform`, `validate`, `train`, `eval`: a run of the command of that name
- `eval_tables`: the tables of an evaluation
- `wide_table`: a table that loses nothing on a narrow screen
"""
