"""Attention of a step over the lane cache.

In reading order:

- `step_plan`: where the tokens of a step stand in the step and in the cache
- `mask_table`: who sees whom, kept from step to step
- `lane_attention`: the attention function that transformers calls
"""
