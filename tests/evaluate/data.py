"""Small local files in the form of known data sets."""

import json
from pathlib import Path
from typing import Any

GSM8K = [
    {"question": f"Ada has {n} apples and eats {m}. How many are left?", "answer": f"#### {n - m}"}
    for n, m in ((9, 2), (8, 5), (7, 1), (12, 4), (20, 3), (15, 6), (11, 10), (30, 9))
]

EASY = """task: easy_choice
dataset_path: json
dataset_kwargs:
  data_files:
    test: {path}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_target: 0
doc_to_choice: [" red", " round and sweet"]
metric_list:
  - metric: acc
"""


def write_jsonl(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path
