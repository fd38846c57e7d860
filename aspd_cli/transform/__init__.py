"""From ordinary answers to parallel training data (paper section 3.3), and checks of such data.

    answers.jsonl -> io.records -> rules | llm.backend -> outcome -> train.jsonl + report

- `pipeline`: one file to one file, every record once and in order
- `io`: formats, notations, readers and records of the input
- `rows`: from a record to a row of the output by rules, for one's own engines too
- `workers`: the rules in several processes
- `rules`, `llm`: the back ends: an answer's own Markdown, and what models propose and judge
- `marked`: answers that somebody has marked up before
- `own_answers`: what a tuned model has written in parallel itself, held against the rules
- `blocks`: branches as blocks, in both back ends
- `outcome`, `report`, `cost_estimate`: what became of an answer, of a run, and what a run will ask
  for
- `token_counts`: how many tokens a text has, and `word_ids`: out of those of its words
- `validation`: findings in finished data (`aspd validate`)
"""
