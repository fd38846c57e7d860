"""What a person sees of a command, in reading order.

- `generate`: one prompt, and how its answer is shown
- `served`: the same where a server answers
- `live`: the answer on a terminal while it is decoded, branches side by side
- `answering`: a file of prompts (`prompts_file`) to a file of answers (`answers_file`), resumable
- `transform_files`: where a transformation writes, and what it may replace
- `transform`, `validate`, `train`, `eval`: a run of the command of that name
- `transform_tables`, `eval_tables`: the tables of a transformation, of an evaluation
- `wide_table`: a table that loses nothing on a narrow screen
"""
