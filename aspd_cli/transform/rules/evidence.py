"""Evidence that items are steps: work of the hands, and words of time."""

from collections.abc import Iterator, Sequence

from aspd_cli.transform.rules import english, languages

_LABELLED_WITHIN = 30
"""Characters in which the colon of a label stands."""
_BEGINS_WITHIN = 90
"""Characters behind a title in which a word of time stands for the whole item."""


def evidence(
    titles: Sequence[str],
    contents: Sequence[str],
    words: Sequence[frozenset[str]],
    other: bool,
    *,
    making: bool,
) -> Iterator[bool]:
    """Whether each item is work of the hands, or follows in time.

    Args:
        words: those of the contents, in small letters.
        making: whether words of recipes and of instructions count.
    """
    for title, content, own in zip(titles, contents, words, strict=True):
        yield bool(
            is_done(title, other)
            or _listed_by_hands(content)
            or (
                not own.isdisjoint(english.SEQUENCE_WORDS)
                and english.SEQUENCE.search(content, 0, len(title) + _BEGINS_WITHIN)
            )
            or (making and not own.isdisjoint(english.MAKING))
            or (
                other
                and (
                    languages.SEQUENCE.search(content, 0, len(title) + _BEGINS_WITHIN)
                    or (making and languages.MAKING.search(content))
                )
            )
        )


def is_done(title: str, other: bool) -> bool:
    """Whether a title tells what hands do."""
    found = english.FIRST_WORD.match(title)
    if found and _of_hands(found[1].lower()):
        return True
    return other and languages.HANDS.match(title) is not None


def names_itself(content: str) -> bool:
    """Whether an item of Chinese has a label, or a heading."""
    near = content[:_LABELLED_WITHIN]
    return "：" in near or "\n" in near


def _listed_by_hands(content: str) -> bool:
    """Whether most of what is listed inside of an item is work of the hands."""
    verbs = english.DONE_BELOW.findall(content) if "\n" in content else ()
    return len(verbs) > 1 and 2 * sum(_of_hands(verb.lower()) for verb in verbs) > len(verbs)


def _of_hands(word: str) -> bool:
    """Whether a word is what hands do, or the doing of it: dry, drying, chopping, baking."""
    stem = word.removesuffix("ing")
    return word in english.HANDS or (
        stem != word and not english.HANDS.isdisjoint((stem, stem + "e", stem[:-1]))
    )
