"""The guard of what a run left: only a run with the same settings may go on with it."""

import json
from collections.abc import Collection, Mapping
from typing import Any

from aspd_cli.errors import UsageError

WIDTH = 60
"""Characters of a value that a message shows."""


def settings_of(
    recipe: Mapping[str, Any], *, only: Collection[str] = (), free: Collection[str] = ()
) -> dict[str, Any]:
    """The fields of a dumped recipe by dotted name; what is null is not set.

    Args:
        only: the fields and sections that decide; all when empty.
        free: fields and sections that do not.
    """
    return {
        name: value
        for name, value in _flat(recipe).items()
        if (not only or _within(name, only)) and not _within(name, free)
    }


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted names; `model.config` and such are taken apart too."""
    out: dict[str, Any] = {}
    for name, item in value.items():
        if isinstance(item, Mapping) and item:
            out |= _flat(item, f"{prefix}{name}.")
        elif item is not None:
            out[prefix + name] = item
    return out


def _within(name: str, places: Collection[str]) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


def refuse_changes(
    made: object,
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    cure: str,
    *,
    growing: Collection[str] = (),
) -> None:
    """Refuses to go on with other settings, in one sentence that names what differs.

    Args:
        made: what the settings `before` have made, as a message calls it.
        cure: what the user can do.
        growing: fields that may be raised, but not to or from -1, which is no limit.

    Raises:
        UsageError: a setting differs.
    """
    changes = [
        f"{name} (was {_shown(before, name)}, is {_shown(now, name)})"
        for name in sorted({*before, *now})
        if _text(before, name) != _text(now, name)
        and not (name in growing and -1 != before.get(name, -1) < now.get(name, -1))
    ]
    if changes:
        raise UsageError(f"{made} was made with other settings: {', '.join(changes)}; {cure}")


def _text(settings: Mapping[str, Any], name: str) -> str | None:
    if name not in settings:
        return None
    return json.dumps(settings[name], ensure_ascii=False, sort_keys=True)


def _shown(settings: Mapping[str, Any], name: str) -> str:
    text = _text(settings, name)
    if text is None:
        return "not set"
    return text if len(text) <= WIDTH else text[: WIDTH - 3] + "..."
