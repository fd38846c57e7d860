"""Against the source: each of its records once, in order, with its own words."""

import json
import random
from pathlib import Path

from aspd_cli.transform.validation.originals import Originals

TEXTS = [f"The answer number {n} is said in so many words." for n in range(12)]


def source(path: Path, texts: list[str] = TEXTS) -> Path:
    rows = ({"id": n, "question": "q", "answer": text} for n, text in enumerate(texts))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def found(path: Path, order: list[int], **changed: str) -> list[str]:
    """What is found in rows that stand in `order`, those of `changed` with other texts."""
    originals = Originals(path, "auto")
    each = [
        originals.compare({"id": n}, line, changed.get(f"n{n}", TEXTS[n]))
        for line, n in enumerate(order, start=1)
    ]
    return [str(finding) for finding in (*filter(None, each), *originals.left())]


def test_what_is_whole_and_in_order_has_no_findings(tmp_path: Path) -> None:
    assert found(source(tmp_path / "in"), list(range(12))) == []


def test_lost_and_doubled_records_are_named(tmp_path: Path) -> None:
    path = source(tmp_path / "in")
    order = [0, 1, 1, *range(3, 12)]
    doubled, lost = found(path, order)
    assert doubled.startswith("line 3: doubled: the id 1 comes once more than in the source")
    assert lost == f"source: lost: line 3 of {path} (id 2) has no record"


def test_as_few_records_as_possible_are_out_of_order(tmp_path: Path) -> None:
    path = source(tmp_path / "in")
    assert found(path, [11, *range(11)]) == [
        f"line 1: order: out of order: it is line 12 of {path}"
    ]
    assert len(found(path, [*range(1, 12), 0])) == 1
    assert len(found(path, list(reversed(range(12))))) == 11
    shuffled = list(range(12))
    random.Random(0).shuffle(shuffled)
    assert 0 < len(found(path, shuffled)) < 12


def test_changed_words_are_shown_with_those_of_the_source(tmp_path: Path) -> None:
    path = source(tmp_path / "in")
    changes = {f"n{n}": TEXTS[n].replace("so many", "too few") for n in (3, 7)}
    first, second = found(path, list(range(12)), **changes)
    assert first == (
        "line 4: raw: the plain text differs from the source answer, which has "
        '"…wer number 3 is said in so many words." | "…wer number 3 is said in too few words."'
    )
    assert second.startswith("line 8: raw")


def test_records_with_one_id_are_told_apart_by_their_answers(tmp_path: Path) -> None:
    path = tmp_path / "in"
    rows = [{"id": "x", "question": "q", "answer": text} for text in TEXTS]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    originals = Originals(path, "auto")
    compared = [originals.compare({"id": "x"}, n, text) for n, text in enumerate(TEXTS, start=1)]
    assert compared == [None] * 12
    assert list(originals.left()) == []
    again = originals.compare({"id": "x"}, 13, TEXTS[0])
    assert again is not None
    assert again.kind == "doubled"


def test_only_what_was_transformed_is_expected(tmp_path: Path) -> None:
    path = source(tmp_path / "in")
    for facts, expected in (({"limit": 3}, 3), ({"part": [4, 6]}, 2), ({}, 12)):
        assert len(list(Originals(path, "auto", facts).left())) == expected
