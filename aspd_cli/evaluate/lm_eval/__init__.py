"""Tasks of lm-eval for several systems at once.

- `tasks`: tasks by name: lm-eval's own, ours in `aspd_synth`, and either on a local file
- `model`: lm-eval's view of a decoder; `served`: of a server
- `runner`: prompts out, answers in, prompt by prompt
- `scores`: its samples as scores
- `silence`: what it prints, kept from the user
"""
