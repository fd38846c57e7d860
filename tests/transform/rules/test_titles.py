"""Titles of items that do not name themselves: whole phrases that say something, or none."""

import pytest

from aspd_cli.core.markup import plain
from aspd_cli.transform.rules import propose
from aspd_cli.transform.rules.phrases import MAX_WORDS
from aspd_cli.transform.rules.titles import title_of, told_apart


@pytest.mark.parametrize(
    ("head", "title"),
    [
        ("TV shows have plots", "TV shows have plots"),
        ("Our shop values honesty and good manners. Tell us why.",
         "Our shop values honesty and good manners"),
        ("Gift ideas for the lover of tools:", "Gift ideas for the lover of tools"),
        ("The bright display of the car shall come on at once.", "The bright display of the car"),
        ("Start your day with a good breakfast and then a much longer walk.",
         "Start your day with a good breakfast"),
        ("Use warm water, as it mixes better with the soap.", "Use warm water"),
        ("Adjust the amount of sour cream or yoghurt to your taste, spoon by spoon.",
         "Adjust the amount of sour cream or yoghurt"),
        ("The Queen Mary, a liner that is now a hotel on the western coast.", "The Queen Mary"),
        ("Water companies (e.g., Veolia, Suez) that ask for models.", "Water companies"),
        ("Set measurable, achievable and relevant (MAR) goals for each day of the week.",
         "Set measurable, achievable and relevant (MAR) goals"),
        ("FV is the future value of the whole sum that was invested.", "FV"),
        ("Keep an eye on the temperature as you cook the mixture of sugar.",
         "Keep an eye on the temperature"),
        ("Sgt. Pepper's Lonely Hearts Club Band (1967), with many songs.",
         "Sgt. Pepper's Lonely Hearts Club Band (1967)"),
        ("Which of the planets in our own solar system has the longest day and the shortest year?",
         "Which of the planets in our own solar system has the longest day and the shortest year"),
        ("An essay by a teacher called “On the Use of Chalk, Sponges and Old Maps” – much read.",
         "On the Use of Chalk, Sponges and Old Maps"),
        ("来自科技谷的文章《人工智能在医疗保健中的应用与它在未来几年的发展》——列举了很多。",
         "《人工智能在医疗保健中的应用与它在未来几年的发展》"),
        ("询问家人或朋友是否看见过你的车钥匙。", "询问家人或朋友是否看见过你的车钥匙"),
        ("在公共场所佩戴口罩，勤洗手。", "在公共场所佩戴口罩"),
        ("过多的标签页会消耗计算机的大量内存和处理器的大部分资源，使它变慢。", "过多的标签页"),
        ("长城（Great Wall of China）位于中国，是古代防御工事。", "长城"),
        ("¬(A ∧ B) ∧ (C ∨ D) （非“A 与 B”的结果）", "¬(A ∧ B) ∧ (C ∨ D)"),
    ],
)  # fmt: skip
def test_a_title_ends_where_a_phrase_or_a_clause_does(head: str, title: str) -> None:
    assert title_of(head) == title


@pytest.mark.parametrize(
    ("head", "title"),
    [
        ("If the button is loose after sewing, you can add a drop of glue on the back.",
         "add a drop of glue"),
        ("While ether is common in this layer, other gases also exist in many of the devices.",
         "other gases also exist in many of the devices"),
        ("While ether is common in this layer, others like xenon (a gas) exist in many devices.",
         "While ether is common in this layer, others like xenon"),
        ("After the cut is made, repair begins.", "After the cut is made, repair begins"),
        ("通过教育与宣传等许多不同的方式，呼吁社会人士关注动物福利问题。",
         "呼吁社会人士关注动物福利问题"),
        ("通过实地考察，推动制定法规。", "通过实地考察，推动制定法规"),
        ("如果这名学生选择早睡，那么他可能会在考试的当天有更充足的精力和注意力。",
         "这名学生选择早睡"),
    ],
)  # fmt: skip
def test_a_clause_that_needs_another_one_is_no_title(head: str, title: str) -> None:
    assert title_of(head) == title


@pytest.mark.parametrize(
    "head",
    [
        "Make sure all utensils and the baking sheet are clean, dry, and free from any grease.",
        "Read a book, write in a journal, or meditate instead of scrolling through your phone.",
        "If the pen has not been used for most of the summer, it may stain your best shirts.",
        "When fuel ignites too early in the chamber it causes a rattling or pinging sound there.",
        "`const next = document.querySelectorAll('form .next')` and `const back = 1` select these.",
        "2: duality, comparison or nuance",
        "The first `*` stands for the day of the month.",
        "- represents the door to the platform, from which the train to school departs.",
        "您认为学校可以做些什么来提高您对其他各个科目的兴趣和热情呢？",
        "The tower shall have a built-in mechanism to open and to close all of its shutters.",
        "！？",
    ],
)
def test_where_no_phrase_can_be_told_there_is_no_title(head: str) -> None:
    assert title_of(head) is None


def test_a_label_is_a_title_as_long_as_it_may_be_and_a_number_is_none() -> None:
    long = "Harry Potter and the Sorcerer's Stone by J. K. Rowling, narrated by Jim Dale"
    assert len(long.split()) > MAX_WORDS
    assert title_of(f"**{long}:** a classic for a reason") == long
    assert title_of("**Native Languages:** many states took names") == "Native Languages"
    assert title_of("Native Languages:** many states took names") == "Native Languages"
    assert title_of("**2:** comparison") is None
    assert title_of("**1969:** men on the moon") == "1969"
    assert title_of("`[a-z]+` - letters") == "[a-z]+"
    assert title_of("**S**top: Halt whatever you do, and breathe.") == "Stop"


def test_items_that_begin_alike_are_told_apart_by_longer_phrases() -> None:
    heads = [f"The list that {word} reads is long and old." for word in ("he", "she")]
    titles = told_apart(heads, ["The list", "The list"])
    assert titles == [f"The list that {word} reads is long and old" for word in ("he", "she")]


ITEMS = [
    "Use a virtual background with a video of a person who nods and smiles at all times.",
    "Use a second device to watch the conversation, with alerts for your name and for questions.",
    "Prepare some written answers to common questions that you can quickly type out.",
]
NAMELESS = "If it has not been used for long, you might need to clean it with some more of this."


def test_an_item_without_a_title_stays_outside_and_the_others_fork() -> None:
    answer = "".join(f"{n}. {item}\n" for n, item in enumerate([*ITEMS, NAMELESS, *ITEMS[:0]], 1))
    proposal = propose(answer)
    assert plain(proposal.document) == answer
    [block] = proposal.document.blocks()
    assert block.titles[0] == "1. Use a virtual background"
    assert block.titles[1:] == (
        "Use a second device to watch the conversation",
        "Prepare some written answers to common questions",
    )
    assert "an item has no title of its own" in proposal.refusals


def test_items_of_which_many_have_no_title_do_not_fork() -> None:
    proposal = propose(f"- {ITEMS[0]}\n- {NAMELESS}\n")
    assert not list(proposal.document.blocks())
    assert proposal.refusals == ("an item has no title of its own",)
