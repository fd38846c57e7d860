"""How right the rules are, on small answers that a reader has judged: it only gets better."""

from collections import Counter

import pytest

from tests.transform.rules.labelled import Answer, Score, Tally, judge, labelled

ANSWERS = labelled()


@pytest.fixture(scope="module")
def scores() -> list[Score]:
    return [judge(answer) for answer in ANSWERS]


def test_the_set_is_large_and_varied_and_judged_both_ways() -> None:
    assert len(ANSWERS) >= 300
    assert len({answer.text for answer in ANSWERS}) == len(ANSWERS)
    assert len({answer.format for answer in ANSWERS}) >= 25
    assert Counter(answer.language for answer in ANSWERS).keys() == {"en", "zh", "de", "fr", "es"}
    verdicts = Counter(answer.verdict for answer in ANSWERS)
    assert verdicts["sound"] > 100
    assert verdicts["dependent"] > 100
    assert all(need in answer.text for answer in ANSWERS for need in answer.needs)


def test_precision_and_recall_do_not_fall(scores: list[Score]) -> None:
    tally = Tally.of(scores)
    assert tally.precision >= 0.99
    assert tally.recall >= 0.99


@pytest.mark.parametrize("language", ["en", "zh", "de", "fr", "es"])
def test_no_language_falls_behind(scores: list[Score], language: str) -> None:
    tally = Tally.of(score for score in scores if score.answer.language == language)
    assert tally.precision >= 0.98
    assert tally.recall >= 0.98


def test_a_wrong_fork_is_told_from_a_right_one() -> None:
    """The judge itself: an item that needs another may begin a block, and stand in none behind."""
    text = "- **Red**: {} of a colour.\n- **Blue**: {} of a colour, and the sky as well.\n"
    about = ("parts", "test", "en", "", "- **label:**", "")
    asked = [text.format("It is the oldest word", more) for more in ("It is a word", "Same word")]
    wrong, right = (
        Answer(*about, each, (need,)) for each, need in zip(asked, ("It is a", "?"), strict=True)
    )
    assert not judge(wrong).right
    assert judge(right).right
