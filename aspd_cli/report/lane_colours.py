"""The colours of lanes, branch by branch from 0; after the last one they begin anew."""

TERMINAL = ("cyan", "magenta", "green", "yellow", "blue", "red")
"""Names that every terminal has."""

PAGE = {
    "b0": ("#2f66c9", "#7fabff"),
    "b1": ("#c4540e", "#ff9f63"),
    "b2": ("#2a8545", "#79cd8a"),
    "b3": ("#9440b0", "#d59cf2"),
    "b4": ("#0c7a8a", "#57c9d6"),
    "b5": ("#c02a62", "#ff8cb0"),
    "b6": ("#8a6a00", "#dfbd4f"),
    "b7": ("#5a48c4", "#aba0ff"),
}
"""Name of a colour -> what it is on a light and on a dark page."""

_NAMES = tuple(PAGE)


def terminal_colour(branch: int) -> str:
    """The colour of a branch on a terminal, as rich takes it."""
    return TERMINAL[branch % len(TERMINAL)]


def page_colour(branch: int) -> str:
    """The name of a branch's colour on a page."""
    return _NAMES[branch % len(_NAMES)]
