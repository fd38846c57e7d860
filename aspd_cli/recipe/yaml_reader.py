"""YAML with line numbers, for recipes: what PyYAML reads, less its traps.

- A key that occurs twice is a problem instead of a silent loss, and `1e-5` is a number.
- What YAML 1.1 (PyYAML) and YAML 1.2 (most other readers) take for different things is *ambiguous*:
  `010` is 8 or 10, `1:30` is 90 or a text, `no` is false or a text. What to do about it depends on
  the field, so that it is noted here and judged by the caller.
- Size, depth and what aliases expand to are bounded: a few lines of YAML can stand for a billion
  values.

Every value keeps the line it stands on, so that problems can point at it.
"""

import math
import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from aspd_cli.errors import RecipeError

Path = tuple[str | int, ...]

MAX_BYTES = 256 * 1024
"""Longest text that is read."""
MAX_VALUES = 10_000
"""Most values of a text, aliases written out; its mappings, lists and names count too."""
MAX_DEPTH = 50
"""Deepest nesting, aliases written out."""

_TAG = "tag:yaml.org,2002:"
_SAME_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)|0x[0-9a-fA-F]+")
_SAME_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
"""Numbers on which YAML 1.1 and 1.2 agree."""
_ONLY_NEWER = re.compile(r"[-+]?0(o[0-7]+|[0-9]+)")
"""Numbers of YAML 1.2 that are texts in 1.1, where `010` is not among them."""


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """A plain scalar that a reader may take for something else than its writer did."""

    line: int
    text: str
    """As it is written."""
    meaning: str
    """What it would become, as in `would become 8`."""
    instead: tuple[str, ...] = ()
    """Spellings of the numbers, or the truth value, that may be meant."""
    switch: bool = False
    """Whether it is a word for true or false."""
    is_text: bool = False
    """Whether it would become the text that it is."""


@dataclass(slots=True)
class Source:
    """A YAML text, read. `problems` are (line, field path, message)."""

    data: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[tuple[int, Path, str]] = field(default_factory=list)
    ambiguous: dict[Path, Ambiguous] = field(default_factory=dict)


class _Refused(yaml.MarkedYAMLError):
    """YAML, but none that is read here."""


def _refused(problem: str, event: yaml.Event) -> _Refused:
    mark: Any = event.start_mark
    return _Refused(problem=problem, problem_mark=mark)


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads `1e-5` as a float and stops at tags, great depth and great number."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._values = self._depth = 0
        self._extents: dict[int, tuple[int, int]] = {}  # id of a node -> its values, its depth

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """As PyYAML's. All that a node holds, aliases written out, is known when it is composed."""
        start: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        self._values += 1
        self._depth += 1
        self._check(self._values, self._depth, start)
        node = super().compose_node(parent, index)
        assert node is not None, "PyYAML raises where there is none"
        self._depth -= 1
        if isinstance(start, yaml.AliasEvent):
            if id(node) not in self._extents:
                raise _refused(f"the alias *{start.anchor} stands inside of what it names", start)
            return node
        inner: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            inner = node.value
        elif isinstance(node, yaml.MappingNode):
            inner = [each for pair in node.value for each in pair]
        extents = [self._extents[id(each)] for each in inner]
        values = 1 + sum(values for values, _ in extents)
        depth = 1 + max((depth for _, depth in extents), default=0)
        self._check(values, depth, start)
        self._extents[id(node)] = values, depth
        return node

    def _check(self, values: int, depth: int, event: yaml.Event) -> None:
        tag = getattr(event, "tag", None)
        if values > MAX_VALUES:
            problem = f"more than {MAX_VALUES:,} values, aliases written out; a recipe needs fewer"
        elif depth > MAX_DEPTH:
            problem = f"nested more than {MAX_DEPTH} levels deep; a recipe needs fewer"
        elif tag is not None:
            problem = f"the YAML tag {tag.replace(_TAG, '!!')} has no meaning here; leave it out"
        else:
            return
        raise _refused(problem, event)


_Loader.add_implicit_resolver(
    _TAG + "float",
    re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def read_yaml(text: str) -> Source:
    """Data, line numbers and problems of one YAML document; never raises for a bad text."""
    source = Source()
    if len(text) > MAX_BYTES:
        source.problems.append((1, (), _too_long()))
        return source
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is not None:
            _walk(node, (), source, loader)
            source.data = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        head = "" if isinstance(error, _Refused) else "not YAML: "
        source.problems.append((mark.line + 1 if mark else 1, (), f"{head}{error.problem}"))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problem = f"not YAML: the character U+{error.character:04X} is not allowed"
        source.problems.append((line, (), problem))
    return source


def read_file(path: Any) -> str:
    """The text of a file, if it can be a recipe.

    Raises:
        OSError: it cannot be read.
        RecipeError: it is too long, or no text.
    """
    with open(path, "rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise RecipeError(f"{path}:1: {_too_long()}")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RecipeError(f"{path}:{line}: not text in UTF-8; save it as UTF-8") from None


def _too_long() -> str:
    return f"more than {MAX_BYTES // 1024} KiB; a recipe has a few, so this is some other file"


def _walk(node: yaml.Node, path: Path, source: Source, loader: _Loader) -> None:
    """Notes lines and problems of `node` and of all within it."""
    source.lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.ScalarNode):
        _check_scalar(node, path, source, loader)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _walk(item, (*path, index), source, loader)
    elif isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            if key.tag == _TAG + "merge":
                for each in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    _walk(each, path, source, loader)
                continue
            line = key.start_mark.line + 1
            name = key.value if isinstance(key, yaml.ScalarNode) else "?"
            if name in seen:
                message = f"given twice, first on line {seen[name]}; keep one"
                source.problems.append((line, (*path, name), message))
            seen.setdefault(name, line)
            source.lines[(*path, name)] = line
            if isinstance(key, yaml.ScalarNode):
                _check_name(key, (*path, name), source, loader)
            _walk(value, (*path, name), source, loader)


def _check_name(key: yaml.ScalarNode, path: Path, source: Source, loader: _Loader) -> None:
    found = _ambiguity(key, loader)
    if found and not found.is_text:
        problem = f"as a name, {found.text} {found.meaning}; write '{found.text}'"
        source.problems.append((found.line, path, problem))
        key.tag = _TAG + "str"


def _check_scalar(node: yaml.ScalarNode, path: Path, source: Source, loader: _Loader) -> None:
    if re.search("[\ud800-\udfff]", node.value):
        problem = "holds half of a character (a lone surrogate); write the whole character"
        source.problems.append((node.start_mark.line + 1, path, problem))
        node.value = "?"
    found = _ambiguity(node, loader)
    if found:
        source.ambiguous[path] = found
        if not found.switch:
            node.tag = _TAG + "str"


def _ambiguity(node: yaml.ScalarNode, loader: _Loader) -> Ambiguous | None:
    if node.style is not None:  # it is in quotes
        return None
    line, text, tag = node.start_mark.line + 1, node.value, node.tag.removeprefix(_TAG)
    decimal = text.lstrip("-+").lstrip("0_") or "0"
    if text.startswith("-"):
        decimal = f"-{decimal}"
    try:
        match tag:
            case "bool" if text.lower() not in ("true", "false"):
                value = loader.construct_yaml_bool(node)
                return Ambiguous(
                    line, text, f"would become {value}".lower(), (str(value).lower(),), switch=True
                )
            case "int":
                number = str(loader.construct_yaml_int(node))
                if not _SAME_INT.fullmatch(text):
                    octal = (decimal,) if re.fullmatch("[-+]?0[0-7]+", text) else ()
                    numbers = tuple(dict.fromkeys((*octal, number)))
                    return Ambiguous(line, text, f"would become {number}", numbers)
            case "float":
                real = loader.construct_yaml_float(node)
                if not math.isfinite(real):
                    return Ambiguous(line, text, "is no finite number")
                if not _SAME_FLOAT.fullmatch(text):
                    return Ambiguous(line, text, f"would become {real}", (str(real),))
            case "timestamp":
                return Ambiguous(line, text, "would become a date")
            case "value" | "merge":
                return Ambiguous(line, text, "has a meaning of its own in YAML")
            case "str" if _ONLY_NEWER.fullmatch(text):
                number = str(int(text, 8)) if "o" in text else decimal
                return Ambiguous(line, text, "would become a text", (number,), is_text=True)
    except ValueError:  # 0x_, or thousands of digits
        return Ambiguous(line, text, "is no number that can be read")
    return None
