"""What the replies cost: counts per stage."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Self

from aspd_cli.recipe.endpoint import EndpointSection


@dataclass(slots=True)
class StageTally:
    """Counts of one stage. What was paid is counted over all runs that made an output."""

    calls: int = 0
    """Requests that were answered with replies, over all runs."""
    replies: int = 0
    """Replies that came, over all runs."""
    prompt_tokens: int = 0
    """Tokens of the prompts, over all runs."""
    completion_tokens: int = 0
    """Tokens of the replies, over all runs."""
    dollars: float | None = None
    """What calls and replies cost at the prices of their day; None: no price is known."""
    used: int = 0
    """Replies that this run looked at, from the endpoint or from the journal."""
    invalid: int = 0
    """Those of them that could not be used."""
    replayed: int = 0
    """Those of them that came from the journal."""

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def add(self, other: Self) -> None:
        for field in fields(self):
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            unknown = mine is None and theirs is None
            setattr(self, field.name, None if unknown else (mine or 0) + (theirs or 0))

    def price(self, digits: int = 4) -> str:
        """What was paid, for people."""
        return "price unknown" if self.dollars is None else f"${self.dollars:.{digits}f}"


class Tally:
    """Counts per stage, and their sum.

    Args:
        history: what earlier runs for the same output paid, from its journal.
    """

    def __init__(self, history: Mapping[str, StageTally] | None = None) -> None:
        self.stages: dict[str, StageTally] = dict(history or {})
        self.total = StageTally()
        for paid in self.stages.values():
            self.total.add(paid)

    def add(self, stage: str, counts: StageTally) -> None:
        self.stages.setdefault(stage, StageTally()).add(counts)
        self.total.add(counts)


def dollars(section: EndpointSection, prompt_tokens: int, completion_tokens: int) -> float | None:
    """The price of these tokens; None when the section has no prices."""
    if section.price_input is None and section.price_output is None:
        return None
    price = prompt_tokens * (section.price_input or 0.0)
    price += completion_tokens * (section.price_output or 0.0)
    return price / 1e6


def estimate_tokens(texts: Iterable[str]) -> int:
    """About how many tokens a model counts for these texts, rather too many than too few.

    Three bytes a token: English has four or more, and a Chinese character has three.
    """
    return sum(-(-len(text.encode("utf-8", "replace")) // 3) for text in texts)
