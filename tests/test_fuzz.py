"""Random inputs: a few with every run of the tests, many with `-m slow`, more by `tests.fuzz`."""

import pytest

from tests import fuzz

OUTCOMES = {
    "markup": {"refused", "blocks", "text"},
    "rules": {"parallel", "serial"},
    "notations": {"marked", "ordinary", "refused"},
}


@pytest.mark.parametrize("kind", OUTCOMES)
def test_a_few_random_inputs_keep_every_promise(kind: str) -> None:
    assert fuzz.run(kind, 300, seed=1).keys() == OUTCOMES[kind]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "count"), [("markup", 200_000), ("rules", 5_000), ("notations", 20_000)]
)
def test_many_random_inputs_keep_every_promise(kind: str, count: int) -> None:
    assert fuzz.run(kind, count, seed=2).keys() == OUTCOMES[kind]
