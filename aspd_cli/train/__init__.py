"""Fine-tuning on a recipe, from records to a model that decodes in parallel.

In reading order:

- `run`: one run, from the recipe to a directory; `config` is its recipe as TRL's arguments, and
  `inputs` looks for the files, models and repositories that it names
- `preparation`: everything of a run that needs no weights; `preflight` tells what the run will take
- `data`: records of prompt and completion, from a file, the Hub or `synth`
- `features`: one record as tokens; `encoding`: all of a file, cached
- `batching`: which records go together, and how they lie in memory
- `model`: tokenizer and model, loaded or new; `token_init` and `from_scratch` make what is new of
  them; `adapter` is LoRA as PEFT takes it
- `branch_mask`: the hook that builds the mask, and attention for rows of several records
- `trainer`: TRL's trainer, thinly adapted; `losses` are those by kind of token
- `optim`: Muon with AdamW
- `callbacks`: progress, Ctrl-C, sample answers
- `run_dir`: the files of a run; `checkpoints` tells from which one it may go on, `loss_plot` draws
  its losses
- `export`: save, verify, merge, push; `model_card` is the README of a result
"""
