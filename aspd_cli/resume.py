"""The guard of what a run left: only a run with the same settings may go on with it.

The settings stand beside the output, as a recipe whose first line says which command wrote it and
what it knew: `# aspd transform {...}`. They are in place before the output is, so that an output
without them is not ours.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from aspd_cli.errors import UsageError

WIDTH = 60
"""Characters of a value that a message shows."""


def settings_text(command: str, recipe: str, **facts: Any) -> str:
    """A resolved recipe as it is saved, with what else the next run of `command` must know."""
    # ASCII, for a name may hold what ends a line of YAML, or is no character.
    head = json.dumps({"digest": _digest(recipe.encode()), **facts})
    return f"# aspd {command} {head}\n{recipe}"


def saved_facts(path: Path, command: str) -> dict[str, Any] | None:
    """The facts that `command` saved with its settings; None where it has not written the file."""
    start = f"# aspd {command} ".encode()
    try:
        with path.open("rb") as file:
            head = file.readline()
        found = json.loads(head.removeprefix(start)) if head.startswith(start) else None
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def is_as_saved(path: Path) -> bool:
    """Whether a recipe is one that a run has saved, and nobody has edited since."""
    try:
        data = path.read_bytes()
    except OSError:
        return False
    head, _, rest = data.partition(b"\n")
    if head.startswith(b"# aspd "):
        return f'{{"digest": "{_digest(rest)}"'.encode() in head
    return _is_of_0_1(data)


def _is_of_0_1(data: bytes) -> bool:
    """Whether this is a whole recipe, byte for byte as version 0.1 wrote it."""
    import yaml

    try:
        text = data.decode()
        found = yaml.safe_load(text)
        again = yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=100)
    except (ValueError, yaml.YAMLError, RecursionError):
        return False
    sections = ["model", "data", "transform", "training", "lora", "generation", "evaluation"]
    return isinstance(found, dict) and list(found) == sections and again == text


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def source_facts(source: Path) -> dict[str, Any]:
    """What tells one source from another: its name, and of a file its size and digest too.

    Raises:
        OSError: it cannot be read.
    """
    if not source.is_file():
        return {"name": str(source)}
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"name": str(source), "bytes": source.stat().st_size, "sha256": digest}


def refuse_another_source(made: object, before: object, now: Mapping[str, Any], cure: str) -> None:
    """Refuses to replace what was made from another source; a file may have moved.

    Args:
        before: the facts as they were saved; somebody may have edited them.

    Raises:
        UsageError: names both.
    """
    if before is None:  # version 0.1 did not write it down
        return
    before = before if isinstance(before, dict) else {}
    key = "sha256" if "sha256" in before or "sha256" in now else "name"
    if before.get(key) != now.get(key):
        raise UsageError(
            f"{made} was made from another source (was {_source(before)}, is {_source(now)}); "
            f"{cure}"
        )


def _source(facts: Mapping[str, Any]) -> str:
    name, size = facts.get("name"), facts.get("bytes")
    if not isinstance(name, str):
        return "not known"
    told = "standard input" if name == "-" else name
    return f"{told} of {size:,} bytes" if isinstance(size, int) else told


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
