"""YAML with line numbers, for recipes: what PyYAML reads, less two of its traps.

`1e-5` is a number here (PyYAML reads a string), and a key that occurs twice is a problem instead of
a silent loss. Every value keeps the line it stands on, so that errors can point at it.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

Path = tuple[str | int, ...]


@dataclass(slots=True)
class Source:
    """A YAML text, read. `problems` are (line, field path, message)."""

    data: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[tuple[int, Path, str]] = field(default_factory=list)


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads `1e-5` as a float."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def read_yaml(text: str) -> Source:
    """Data, line numbers and problems of one YAML document; never raises for a bad text."""
    source = Source()
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is not None:
            _note_lines(node, (), source)
            source.data = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        source.problems.append((mark.line + 1 if mark else 1, (), f"not YAML: {error.problem}"))
    except RecursionError:
        source.problems.append((1, (), "not YAML: an alias stands inside of what it names"))
    except (yaml.YAMLError, ValueError) as error:  # e.g. a control character, the date 2024-99-99
        source.problems.append((1, (), f"not YAML: {' '.join(str(error).split())}"))
    return source


def read_scalar(text: str) -> Any:
    """The value of a `--set a.b=value`: a YAML scalar, list or mapping on one line."""
    source = read_yaml(text)
    if source.problems:
        raise ValueError(source.problems[0][2])
    return source.data


def _note_lines(node: yaml.Node, path: Path, source: Source) -> None:
    source.lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _note_lines(item, (*path, index), source)
    elif isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            line, name = key.start_mark.line + 1, str(key.value)
            if name in seen:
                message = f"given twice, first on line {seen[name]}; keep one"
                source.problems.append((line, (*path, name), message))
            seen.setdefault(name, line)
            source.lines[(*path, name)] = line
            _note_lines(value, (*path, name), source)
