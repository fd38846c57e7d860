"""Whatever a recipe holds: it is read, or refused in sentences with their place.

pytest -m slow tests/recipe    # 20,000 recipes, 15 minutes and more
"""

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aspd_cli.errors import RecipeError
from aspd_cli.recipe import Recipe, field_names, load_recipe, new_recipe, packaged_recipes

SEEDS = [path.read_text(encoding="utf-8") for path in packaged_recipes().values()]
SEEDS = [re.sub("(?m)^#.*\n", "", text) for text in SEEDS]
SEEDS += [new_recipe("my.yaml").partition("\n# How")[0]]
SCALARS = (
    "010 1:30 0o10 1_000 yes No ON off .inf -.NAN 1e999 1e-5 0x1F 0x_ 08 -0b1 2024-01-01 "
    "2024-99-99 2001-12-14t21:59:43.10-05:00 ~ null = << * *a &a &a[ !!int !!bool ! !x % @ ` "
    '| > - ? : {} [] {a:1} {a:&x{b:*x}} "\\ud800" "\\0" "\\e[1m" \'\' 9999999999999999999999 '
    ".5 +.5 -- --- ... "
    "\ufeff \u2028 \x85 \t # , } ]"
).split(" ")
NAMES = [*field_names(), *Recipe.model_fields, "<<", "1", "true", "~", "x", "rank", "temperature"]
PLACE = re.compile(r"r\.yaml:\d+: |--set |command line: ")


@st.composite
def recipes(draw: st.DrawFn) -> str:
    """A recipe of the repository, or lines of our own, changed in a few places."""
    lines = draw(st.sampled_from(SEEDS)).splitlines()
    if draw(st.booleans()):  # the short ones are where changes meet
        lines = [f"{draw(st.sampled_from(['data', 'training', 'generation']))}:", "  seed: 1"]
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(lines) - 1))
        line, scalar = lines[at], draw(st.sampled_from(SCALARS))
        name = draw(st.sampled_from(NAMES)).rpartition(".")[2]
        cut = draw(st.integers(0, len(line)))
        lines[at : at + 1] = draw(
            st.sampled_from(
                [
                    [f"{line.partition(':')[0]}: {scalar}"],
                    [line, f"  {name}: {scalar}"],
                    [line, f"{name}: {scalar}"],
                    [line, f"{name}:"],
                    [line, line],
                    [line[:cut] + scalar + line[cut:]],
                    [line[:cut] + line[cut + 1 :]],
                    [f" {line}"],
                    [line.lstrip()],
                    [line.replace("#", "", 1)],
                    [line[:cut], line[cut:]],
                    [line[:cut] + draw(st.text(max_size=4)) + line[cut:]],
                    [f"{line}: &a {{b: {scalar}}}", f"{name}: *a"],
                ]
            )
        )
    return "\n".join(lines) + draw(st.sampled_from(["\n", "", "\r\n", "\n---\n"]))


def outcome(path: Path, text: str, override: str) -> str:
    """`read` or `refused`; anything else fails."""
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        recipe = load_recipe(path, [override] if override else [])
    except RecipeError as error:
        first, *rest = str(error).replace(f"{path}", path.name).split("\n  ")
        for line in rest or [first]:
            assert PLACE.match(line), line
            assert line.isprintable(), line
            assert len(line) < 800, line
        return "refused"
    path.write_text(recipe.to_yaml(), encoding="utf-8")
    assert load_recipe(path) == recipe
    return "read"


def check(folder: Path, number: int) -> dict[str, int]:
    counts = {"read": 0, "refused": 0}

    @settings(
        max_examples=number, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(
        recipes(), st.sampled_from(["", *[""] * 2 * len(NAMES), *NAMES]), st.sampled_from(SCALARS)
    )
    def property(text: str, name: str, scalar: str) -> None:
        counts[outcome(folder / "r.yaml", text, name and f"{name}={scalar}")] += 1

    property()
    return counts


def test_every_recipe_is_read_or_refused_with_its_place(tmp_path: Path) -> None:
    counts = check(tmp_path, 100)
    assert sum(counts.values()) >= 100, counts


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_twenty_thousand_recipes_are_read_or_refused_with_their_place(tmp_path: Path) -> None:
    counts = check(tmp_path, 20_000)
    print(counts)
    assert min(counts.values()) > 100, counts
