"""What --fix writes: the same plain texts without findings, or nothing of a record."""

from typing import Any

from aspd_cli.core.markup import Block, Branch, Document, plain, render
from aspd_cli.core.parser import parse
from aspd_cli.transform.blocks import Budgets
from aspd_cli.transform.io.readers import Raw
from aspd_cli.transform.token_counts import EstimatingCodec
from aspd_cli.transform.validation.checks import Checker
from aspd_cli.transform.validation.repair import Repaired, repair
from tests.transform.validation.test_checks import LONG, block, row


def repaired(value: Any, budgets: Budgets | None = None) -> Repaired:
    checker = Checker(EstimatingCodec(), 2000, budgets=budgets)
    return repair(checker.check(Raw(1, value)), checker)


def markup(found: Repaired) -> str:
    assert found.value is not None
    return str(found.value["completion"][0]["content"])


def test_what_has_no_findings_is_left_as_it_is() -> None:
    value = row(block(("Rome", LONG), ("Oslo", LONG)))
    assert repaired(value) == Repaired(value)


def test_a_bad_block_is_flattened_and_the_others_stay() -> None:
    good, bad = block(("Rome", LONG), ("Oslo", LONG)), block(("A", LONG), ("B", "Then, " + LONG))
    about = {"status": "parallel", "reason": None, "stats": {}}
    found = repaired({**row(good + "And.\n" + bad), "aspd": about})
    assert found.done is not None
    assert found.done.startswith("flattened 1 of 2 blocks: the branch begins with")
    assert found.left == ()
    assert plain(parse(markup(found))) == plain(parse(good + "And.\n" + bad))
    assert len(list(parse(markup(found)).blocks())) == 1
    assert found.value is not None
    assert found.value["aspd"]["status"] == "parallel"
    assert found.value["aspd"]["stats"]["blocks"] == 1
    alone = repaired({**row(bad), "aspd": about})
    assert alone.value is not None
    assert alone.value["aspd"]["status"] == "serial"
    assert "the branch begins with" in alone.value["aspd"]["reason"]


def test_nested_blocks_of_a_bad_one_stay_where_they_can() -> None:
    inner = parse(block(("Food", LONG), ("Art", LONG)))
    outer = Block((Branch("Rome", inner), Branch("Oslo", Document(("Then, " + LONG,)))))
    found = repaired(row(render(Document((outer,)))))
    assert [b.branches[0].title for b in parse(markup(found)).blocks()] == ["Food"]
    deep = repaired(row(render(Document((outer,)))), Budgets(depth=1))
    assert found.left == deep.left == ()


def test_what_cannot_be_mended_is_dropped_or_told() -> None:
    for value in (row("<|para|>"), row(7), []):
        found = repaired(value)
        assert found.value is None
        assert found.done is not None
        assert found.done.startswith("dropped: ")
    left = repaired(row("<title>Rome</title>"))
    assert left.value is not None
    assert (left.done, [each.kind for each in left.left]) == (None, ["suspicious"])
    long = repaired(row(block(("Rome", LONG * 200), ("Oslo", LONG * 200))))
    assert (long.left, "<|title|>" in markup(long)) == ((), False)
