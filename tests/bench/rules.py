"""How often the rules are right, on small answers that a reader has judged.

    python -m tests.bench.rules             # precision and recall by kind, by format, by language
    python -m tests.bench.rules --wrong     # and every answer that they are wrong about

The answers are those of `tests/transform/rules/labelled.txt`, each in several formats. Precision:
of the answers that the rules fork, the share whose blocks hold no item together with one that it
needs. Recall: of the answers that can be forked, the share that is, soundly. It takes some seconds.
"""

import argparse
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.table import Table

from tests.transform.rules.labelled import Answer, Score, Tally, judge, labelled

console = Console(width=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wrong", action="store_true", help="show what the rules are wrong about")
    args = parser.parse_args()
    scores = [judge(answer) for answer in labelled()]
    for what, key in (
        ("kind", lambda answer: f"{answer.verdict}: {answer.kind}"),
        ("format", lambda answer: answer.format),
        ("language", lambda answer: answer.language),
    ):
        _show(what, scores, key)
    for score in scores if args.wrong else ():
        missed = score.answer.verdict != "dependent" and not score.forked
        if missed or not score.right:
            answer = score.answer
            console.rule(f"{'missed' if missed else 'wrong'}: {answer.kind}, {answer.format}")
            console.print(f"{answer.why}\n\n{answer.text}", markup=False, highlight=False)


def _show(what: str, scores: Sequence[Score], key: Callable[[Answer], str]) -> None:
    table = Table(title=f"The rules, by {what}")
    table.add_column(what)
    for name in ("answers", "forked", "precision", "recall"):
        table.add_column(name, justify="right")
    groups: dict[str, list[Score]] = {}
    for score in scores:
        groups.setdefault(key(score.answer), []).append(score)
    for name, group in [*groups.items(), ("all", list(scores))]:
        tally = Tally.of(group)
        precision = f"{tally.precision:.0%}" if tally.forked else "-"
        recall = f"{tally.recall:.0%}" if tally.forkable else "-"
        table.add_row(name, str(tally.answers), str(tally.forked), precision, recall)
    console.print(table)


if __name__ == "__main__":
    main()
