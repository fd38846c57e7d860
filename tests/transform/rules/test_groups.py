"""Where a run of items is parted, and what stays outside of its blocks."""

from aspd_cli.core.markup import Block, plain
from aspd_cli.transform.rules import propose

TIPS = [
    "**Light**: Bright screens tell the brain that it is still the middle of the day.",
    "**Noise**: Cars and planes wake those who sleep beside an open window in summer.",
    "**Heat**: Most people sleep best at about eighteen degrees under a light blanket.",
    "**Habit**: The body likes to go to bed at the same hour on every day of the week.",
    "**Food**: A heavy meal keeps the stomach at work for most of the night.",
]


def listed(*items: str) -> str:
    return "\n\n".join(f"{n}. {item}" for n, item in enumerate(items, 1)) + "\n"


def titles(answer: str, prompt: str = "") -> list[list[str]]:
    document = propose(answer, prompt).document
    assert plain(document) == answer
    parts = (part for part in document.parts if isinstance(part, Block))
    return [[branch.title for branch in part.branches] for part in parts]


def test_a_list_is_parted_before_the_item_that_needs_an_earlier_one() -> None:
    answer = listed(*TIPS[:3], "**Company**: Another cause are those who snore.", *TIPS[3:])
    assert titles(answer) == [["Light", "Noise", "Heat"], ["Company", "Habit", "Food"]]


def test_the_numbers_go_on_where_a_list_is_parted() -> None:
    answer = listed(*TIPS[:3], "**Company**: Another cause are those who snore.", *TIPS[3:])
    blocks = list(propose(answer).document.blocks())
    assert [block.leads[0] for block in blocks] == ["1. **Light**:", "4. **Company**:"]


def test_with_many_items_that_need_others_nothing_is_forked() -> None:
    answer = listed(TIPS[0], "**A**: Another cause are those who snore all night long.",
                    "**B**: In addition, stairs creak.", TIPS[1])  # fmt: skip
    assert titles(answer) == []


def test_an_item_with_code_stays_outside_and_the_others_fork() -> None:
    answer = listed(*TIPS[:3], "**Code**: Run this:\n\n   ```\n   sleep 8h\n   ```", *TIPS[3:])
    assert titles(answer) == [["Light", "Noise", "Heat"], ["Habit", "Food"]]


def test_ways_with_code_of_their_own_fork() -> None:
    ways = [
        f"**{name}**: This is how {name} sees to it:\n\n   ```\n   {name.lower()}(numbers)\n   ```"
        for name in ("Sorting", "Hashing", "Counting")
    ]
    lead = "There are several ways to remove duplicates:\n\n"
    assert titles(lead + listed(*ways)) == [["Sorting", "Hashing", "Counting"]]
    assert titles("Here is an example:\n\n" + listed(*ways)) == []


def test_no_branch_is_a_heading_alone() -> None:
    text = "Salaries are often higher, and a new language opens doors that stay shut at home."
    answer = "".join(f"## {head}\n\n{text if head != 'Parts' else ''}\n\n" for head in
                     ("First", "Second", "Parts", "Left", "Right"))  # fmt: skip
    assert titles(answer) == [["First", "Second"], ["Left", "Right"]]


def test_a_last_section_keeps_its_only_paragraph() -> None:
    item = "- **{}**: said at some length, and with much that is worth to be known about it.\n"
    sections = [f"## {head}\n\n{item.format(head + 's')}\n" for head in ("Bird", "Tree")]
    answer = "".join(sections) + "## Stone\n\nOf stones there is nothing to be listed, only told.\n"
    assert titles(answer) == [["Bird", "Tree", "Stone"]]
    assert "only told" in plain(next(iter(propose(answer).document.blocks())).branches[2].content)


def test_lists_in_a_section_that_is_no_branch_are_found() -> None:
    item = "- **{}**: said at some length, and with much that is worth to be known about it.\n"
    both = "".join(map(item.format, ("One", "Two")))
    answer = f"## Birds\n\n{both}\n## Trees\n\n{both}\n## Summary\n\n{both}"
    assert titles(answer) == [["Birds", "Trees"], ["One", "Two"]]


def test_a_list_inside_an_item_is_a_block_of_its_own() -> None:
    parts = "".join(
        f"   - **{name}**: which is told at such a length that a fork is well worth its title.\n"
        for name in ("Left", "Right")
    )
    answer = "".join(f"{n}. **{name}**: two sides\n{parts}" for n, name in enumerate("AB", 1))
    outer, *inner = propose(answer).document.blocks()
    assert len(outer.branches) == len(inner) == 2
    assert plain(propose(answer).document) == answer


def test_long_rows_of_a_table_fork_and_short_ones_do_not() -> None:
    head = "| Herb | Use |\n| --- | --- |\n"
    long = "It grows on every window sill, smells of summer and goes with tomatoes and with fish."
    assert titles(head + "".join(f"| {n} | {long} |\n" for n in ("Basil", "Mint"))) == [
        ["Basil", "Mint"]
    ]
    assert titles(head + "".join(f"| {n} | tea |\n" for n in ("Basil", "Mint", "Sage"))) == []


def test_titles_are_cleaned_of_boxes_links_and_tags() -> None:
    says = "which can be told in one sentence that has no need of any other."
    answer = f"- [ ] [Rome](https://a.b/c): {says}\n- [x] **Oslo**: {says}\n"
    assert titles(answer) == [["Rome", "Oslo"]]
    answer = f"<ul>\n<li><b>Rome</b>: {says}</li>\n<li><b>Oslo</b>: {says}</li>\n</ul>\n"
    assert titles(answer) == [["Rome", "Oslo"]]


def test_a_title_is_not_cut_at_an_abbreviation() -> None:
    says = "which can be told in one sentence that has no need of any other."
    answer = f"- Messi vs. Ronaldo: {says}\n- Dr. Jekyll vs. Mr. Hyde: {says}\n"
    assert titles(answer) == [["Messi vs. Ronaldo", "Dr. Jekyll vs. Mr. Hyde"]]
