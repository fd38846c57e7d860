"""Where a run of items is parted, and what stays outside of its blocks."""

import pytest

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


def test_a_last_section_ends_before_a_paragraph_that_closes_all_of_it() -> None:
    item = "- **{}**: said at some length, and with much that is worth to be known about it.\n"
    sections = [f"## {head}\n\n{item.format(head + 's')}\n" for head in ("Bird", "Tree")]
    last = "## Stone\n\nOf stones there is nothing to be listed, only told.\n\n"
    document = propose("".join(sections) + last + "Ultimately, it is up to you.\n").document
    assert document.parts[-1] == "Ultimately, it is up to you.\n"


def test_an_item_that_ends_with_what_leads_into_the_next_is_no_branch() -> None:
    more = "**Heat**: Most people sleep best at eighteen degrees.\n\n   All of it adds up. So:"
    answer = listed(*TIPS[:2], more, *TIPS[3:])
    assert titles(answer) == [["Light", "Noise"], ["Habit", "Food"]]
    assert titles(answer.replace("So:", "So be it."))[0][:3] == ["Light", "Noise", "Heat"]


@pytest.mark.parametrize(
    ("parts", "forked"), [(["1", "2", "3", "4"], False), (["1", "2", "1", "2"], True)]
)
def test_parts_whose_chapters_run_on_do_not_fork(parts: list[str], forked: bool) -> None:
    says = "much that is worth knowing about it, and some more."
    heads = [
        f"* **Chapter {n}: Of {name}:** {says}\n" for n, name in zip(parts, "abcd", strict=True)
    ]
    answer = f"## Birds\n\n{heads[0]}{heads[1]}\n## Trees\n\n{heads[2]}{heads[3]}"
    assert (["Birds", "Trees"] in titles(answer)) == forked


def test_items_with_a_number_in_their_titles_run_on_as_they_may() -> None:
    answer = "".join(f"- **Rule {n}:** {tip.partition(': ')[2]}\n" for n, tip in enumerate(TIPS))
    assert titles(answer) == [[f"Rule {n}" for n in range(5)]]


@pytest.mark.parametrize(
    ("last", "forked"),
    [
        ("**A balanced approach**: Dark nights and quiet rooms can both be had.", 3),
        ("**Ultimately**: Whether light or noise is worse depends on who sleeps.", 3),
        ("**Habit**: Go to bed early. These measures, cheap as they are, calm the mind.", 3),
        ("**Habit**: Take simple measures. These measures, cheap as they are, calm us.", 4),
        ("**A balanced diet**: Nuts and greens help those who cannot fall asleep.", 4),
        ("**Habit**: Go to bed early. Again, a clock helps those who forget the time.", 3),
        ("**Habit**: The body likes it again and again, on every day of the week.", 4),
    ],
)
def test_what_weighs_the_others_or_speaks_of_all_stays_outside(last: str, forked: int) -> None:
    assert len(titles(listed(*TIPS[:3], last))[0]) == forked


def test_a_thing_that_goes_with_one_of_an_earlier_branch_begins_another_block() -> None:
    items = ["上衣部分：一件蓝色背心式连衣裙，胸前有一个大蝴蝶结，领口用白色花边点缀。",
             "鞋袜部分：一双白色的长筒袜和黑色的皮鞋，走起路来轻快又可爱，非常舒服。",
             "头上部分：一顶蓝色的小帽子，与胸前的蝴蝶结呼应，也适合在户外戴着玩耍。",
             "手套部分：一双薄薄的棉手套，可以在凉爽的早晨戴着出门，也容易清洗干净。"]  # fmt: skip
    assert [len(each) for each in titles("\n".join(items))] == [2, 2]
    same = "\n".join(items).replace("与胸前的蝴蝶结呼应", "与帽子的颜色呼应")
    assert [len(each) for each in titles(same)] == [4]


def test_sections_of_which_one_holds_what_all_of_them_need_do_not_fork() -> None:
    heads = (
        "Find the leak",
        "Close it for now",
        "Repair it for good",
        "Tools and Materials Needed",
    )
    body = "Much can be told about this, and all of it is worth knowing before the rain.\n"
    assert titles("".join(f"## {head}\n\n{body}\n" for head in heads)) == []
    assert len(titles("".join(f"## {head}\n\n{body}\n" for head in heads[:3]))[0]) == 3


def test_steps_that_are_advice_fork_and_a_way_that_is_named_is_none_of_steps() -> None:
    for lead in (
        "Here are some proactive steps:",
        "It upsets any itinerary, but this helps:",
        "Here's how to make it work:",
    ):
        assert titles(f"{lead}\n\n{listed(*TIPS)}"), lead
    for lead in ("Here is your itinerary:", "Here's how to make soap:", "These are the steps:"):
        assert not titles(f"{lead}\n\n{listed(*TIPS)}"), lead


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


def test_the_last_item_keeps_all_that_stands_below_its_label() -> None:
    answer = (
        "1. Overview:\nThe device reads a drop of blood and shows a number on a small screen.\n\n"
        "2. Functions:\n\n2.1. It can hold the results of a hundred people.\n\n"
        "2.2. It warns when a strip is too old to be trusted.\n\n"
        "3. Supplies:\n\n3.1. Strips come in boxes of fifty and last for a year.\n\n"
        "3.2. Needles are safe to throw away after they were used.\n"
    )
    assert titles(answer) == [["Overview", "Functions", "Supplies"]]
    last = next(propose(answer).document.blocks()).texts[-1]
    assert last.endswith("after they were used.\n")


def test_no_branch_is_a_label_alone() -> None:
    answer = (
        "1. **Summary:**\n\nA small shop wants to send its letters by itself from now on.\n\n"
        "2. **Goals:**\n\nHalf of the time is to be saved, and no letter is to be lost.\n\n"
        "3. **Phases:**\n\n## Spring\n\nThe letters are counted.\n\n## Summer\n\nThey are sent.\n"
    )
    assert titles(answer)[0] == ["Summary", "Goals"]


def test_a_first_item_that_gives_the_name_stays_outside() -> None:
    items = [
        "**Challenge Name**: The Steady Heron, after the bird that stands in our pond.",
        "**Duration**: Four weeks in spring, from the first Monday to the end of the month.",
        "**Prize**: A loaf of bread from the bakery at the corner, shared by all who finish.",
    ]
    assert titles(listed(*items)) == [["Duration", "Prize"]]


def test_the_timeline_of_a_plan_stays_outside() -> None:
    text = "The town would lend two rooms, and the baker gives what is left in the evening."
    heads = ["Place", "Food", "Helpers", "Timeline"]
    answer = "".join(f"## {head}\n\n{head}: {text}\n\n" for head in heads)
    assert titles(answer) == [["Place", "Food", "Helpers"]]
    assert titles("".join(f"- {head}: {text}\n" for head in heads)) == [heads]


def test_bullets_below_heads_that_nothing_marks_are_no_list() -> None:
    answer = (
        "Cross (noun)\n* The cross was put up on top of the old church beside the river.\n"
        "Crossroads (noun)\n* We stopped at the crossroads and looked at the map for a while.\n"
    )
    assert titles(answer) == []


def test_lists_inside_of_items_that_are_no_branches_fork() -> None:
    inner = "".join(
        f"   - **{head}**: {text}\n"
        for head, text in (
            ("Visitors", "How many people come by is counted at the door every day."),
            ("Prices", "What they pay on average is printed by the till in the evening."),
            ("Weather", "Rain keeps guests away from the tables on the terrace in May."),
        )
    )
    answer = listed(
        f"**Café**:\n{inner}", f"**Stall**: As mentioned above, all this counts.\n{inner}"
    )
    assert titles(answer) == [["Visitors", "Prices", "Weather"]] * 2


def test_a_line_in_bold_that_leads_in_is_no_heading() -> None:
    text = "The domain is cut into small pieces, and each of them is easy to describe."
    answer = f"**Here's how it works:**\n\n{text}\n\n**Advantages:**\n\n{text}\n"
    assert titles(answer) == []
