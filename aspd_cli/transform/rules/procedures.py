"""Procedures: items that are steps of one thing, each going on where the one before ended.

Some names and announcements say so by themselves. Without them it is a matter of evidence: what
share of the items is work of the hands, follows in time, or takes up a thing that an earlier item
has brought in; and less of it is needed where the prompt asks how something is done.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

from aspd_cli.transform.rules import languages
from aspd_cli.transform.rules.items import ListForm

_ORDERED_LABEL = re.compile(
    r"\W*(?:(?:step|day|week|month|year|phase|stage|part|chapter|act|scene|verse|stanza|round|level"
    r"|session|lesson|episode|chorus|bridge|line|move|slide|panel|page|paragraph|hour|minute)s?\s*"
    r"(?:#?\d|[ivx]+\b|one|two|three|four|five|six|[:.\-–]|$)"
    r"|(?:early |late |mid-?)?(?:morning|noon|midday|afternoon|evening|night)s?\b"
    r"|(?:mon|tues|wednes|thurs|fri|satur|sun)days?\b"
    r"|.{2,60}\(\d{1,3}(?::\d\d)?\s*[-–]\s*\d{1,3}(?::\d\d)?\s?(?:s|sec|seconds|min|minutes)?\)\W*$"
    r"|(?:initial|first|second|third|final|last) (?:step|phase|stage|part|act|half|week|day)\b)",
    re.IGNORECASE,
)
_ARGUMENT = re.compile(
    r"\W*(?:(?:the )?(?:problem|challenge)(?: statement)?|(?:the |our |proposed )?solutions?"
    r"|hypothes[ie]s"
    r"|methodology|methods?|(?:key )?(?:results|findings)|discussion|thesis(?: statement)?|argument"
    r"|counter-?arguments?|rebuttal|analysis|proof|cause|effects?|inputs?|outputs?|algorithm)\W*$",
    re.IGNORECASE,
)
"""Parts of one line of thought, each of which takes up the one before."""
_TAKES_UP = re.compile(
    r"\W*(?:(?:an? |the |for )?examples?(?: \w+)?|samples?(?: \w+)?|explanations?|answers?"
    r"|solutions?"
    r"|translations?|rationale|justification|interpretation|usage)\W*$",
    re.IGNORECASE,
)
"""What belongs to something that was said before."""
_PHASES = tuple(
    re.compile(rf"\W*(?:{verbs})\b", re.IGNORECASE)
    for verbs in (
        "research|brainstorm|identify|define|assess|understand|determine|decide|educate|learn",
        "plan|outline|choose|select|develop a|create a|set|design",
        "gather|collect|prepare|buy|find|secure|hire|assemble",
        "write|build|draft|develop|implement|execute|apply|make|produce|record|train",
        "test|revise|edit|proofread|evaluate|refine|review|validate|measure",
        "publish|launch|deploy|submit|release|present|distribute|file",
        "promote|market|maintain|monitor|follow up|iterate|track|scale",
    )
)
"""What is done to a thing from its idea to its use, in the order in which it is done."""
_WORKFLOW = tuple(
    re.compile(rf"\b(?:{words})", re.IGNORECASE)
    for words in (
        "requirement|research|problem|collecti|gathering|acquisition|surveying|planning",
        "clean|pre-?process|preparation|design|architect|explorat|permit",
        "feature|model(?! (?:valid|eval|test|optim|tun|deploy|monit))|develop|build|training|coding|construct",
        "validat|evaluat|test|optimi|tuning|quality",
        "deploy|launch|release|rollout|implementation|installation",
        "monitor|maint|report|support|feedback|iterat|inspection|review",
    )
)
"""What the phases of a project are called."""
_LEAST_PHASES = 4
_DERIVED = re.compile(
    r"\W*(?:calculat|comput|determin|estimat|solv|substitut|simplify|find the|total|final|convert"
    r"|combin|sum\b|subtract|multipl|divid|let\b|given\b|proof|base case|inductive)\w*",
    re.IGNORECASE,
)
_RECKONING = frozenset("know find calculate determine convert compute derive solve".split())
_NEEDED = re.compile(
    r"\b(?:we|you|i|let us|let's) (?:(?:need|have) to |must |can |now )?"
    r"(?:know|find|calculate|determine|convert|compute|derive|solve)\b",
    re.IGNORECASE,
)
_STAGE_LABEL = re.compile(
    r"\W*(?:(?:directions?|methods?|materials?|setup|implementation|execution)"
    r"(?:\W*$| (?:to|for|needed|required)\b)"
    r"|(?:instructions?|steps?|procedure|preparation|ingredients|installation|how to)\b"
    r"|(?:the )?(?:\w+ )?(?:process|assembly|application)\W*$|finishing touches"
    r"|(?:gather|prepare|prep|assemble|collect)(?:ing)? (?:your |the |all )?"
    r"(?:\w+ )?(?:suppl|material|ingredient|tool|equipment|gift|surface|area|car|meat|dough)\w*)",
    re.IGNORECASE,
)
_ANNOUNCED = re.compile(
    r"\b(?:step[- ]by[- ]step|(?:following|these|involves?|several|\w+ (?:easy|simple|basic)) steps"
    r"|steps (?:below|to|for|involved|are)|instructions|recipe|how to make|itinerary|in order\W*$"
    r"|(?:directions|method|steps?|procedure|process|sequence|stages|phases|algorithm|proof|schedule|plot"
    r"|storyline|chapters|lyrics|timeline|agenda|tutorial|workflow|how to (?:use|play|run|install|apply))"
    r"(?: (?:below|is|are|as follows|follows|includes?|looks? like this|for \w+|to \w+))?\W*$)",
    re.IGNORECASE,
)
_WORKING = re.compile(r"\bwork(?:s|ed)?\W*$", re.IGNORECASE)
_LABELLED = re.compile(r"\W*(?:\d{1,3}[.)]\s*)?(?:\*\*|[^.:\n]{2,60}:\s)")
_ADVICE = re.compile(
    r"\b(?:steps?|strategies) (?:that )?(?:you|we|they|one|i|people) (?:can|could|may|might)\b"
    r"(?! follow)|\b(?:some|several|few|additional|practical|general) (?:\w+ )?"
    r"(?:steps|tips|ways|strategies|suggestions|ideas|examples|options)\b",
    re.IGNORECASE,
)
"""Steps that are advice, each of which can be taken alone."""
_ASIDES = re.compile(
    r"\b(?:tips?|variations?|notes?|reminders?|warnings?|ways|reasons|benefits|factors)\W*$",
    re.IGNORECASE,
)
IDEAS = re.compile(
    r"\b(?:ideas?|options?|examples?|dishes|foods?|methods|alternatives|choices|ways|approaches"
    r"|techniques|recipes|activities|remedies|suggestions|questions)\b",
    re.IGNORECASE,
)
"""Things to choose from, each of which is whole."""
_ASKED = re.compile(
    r"\b(?:step[- ]by[- ]step|recipe (?:for|of)|(?:the|what|list) steps|steps (?:to|for|in|needed|required)"
    r"|instructions (?:to|for|on)|how (?:do|can|would|should) (?:i|you|we|one) "
    r"(?:make|cook|bake|build|install|set up|wrap|tie|assemble|draw|sew|knit)|how to (?:make|cook|bake|build"
    r"|install|set up|wrap|tie|assemble|draw|sew|knit)|prove that|calculate the)\b",
    re.IGNORECASE,
)
"""What is asked for is one thing, made from beginning to end."""
_WORK = re.compile(
    r"\b(?:write|create|compose|tell|generate|draft|make|continue|conduct|simulate|structure)\b[^.\n]{0,60}"
    r"\b(?:story|(?:movie|film|podcast|video|comedy|youtube) script|screenplay|dialogue|conversation|debate"
    r"|poem|sonnet|song|rap|lyrics|play|skit|scene|monologue|itinerary|plot|schedule)\b"
    r"|写.{0,12}(?:故事|剧本|诗|歌|小说|对话)|对话|\bschreib\w* .{0,40}\b(?:geschichte|gedicht|dialog)\b"
    r"|\bécri\w+ .{0,40}\b(?:histoire|poème|dialogue)\b|\bescrib\w+ .{0,40}\b(?:historia|cuento|poema|diálogo)\b",
    re.IGNORECASE,
)
"""A work whose parts live by each other is asked for."""
_ORDER = re.compile(
    r"\bin (?:the |chronological |the right |the correct |sequential )?order\b(?! to)|\bstages of\b"
    r"|\bstep[- ]by[- ]step\b|\b(?:what are |list |me |outline )the (?:\w+ )?steps\b|步骤|流程",
    re.IGNORECASE,
)
"""An order is asked for."""
_DOING = re.compile(
    r"\b(?:how (?:do|can|could|would|should|to)|(?:easy|easiest|best|right|proper|quick|simple|good) "
    r"(?:to )?way|guide|procedure|fix|repair|replace|clean|remove|set ?up|install)\b"
    r"|怎么|如何|怎样|方法|\bwie (?:kann|soll|mache)|\bcomment\b|\bcómo\b",
    re.IGNORECASE,
)
"""Something is to be done."""
_SEQUENCE = re.compile(
    r"\b(?:once (?:you|the|your|it|they|all|everything|done)|after (?:you|that|\w+ing)\b"
    r"|until (?:it|the|they|you|all|\w+ed)|repeat|then,? |afterwards?|let it|now that|finally,)",
    re.IGNORECASE,
)
_SEQUENCE_WORDS = frozenset(
    "once after until repeat then afterwards afterward let now finally".split()
)
"""One of these is in whatever `_SEQUENCE` finds: looking for them first takes a tenth of it."""
_BEGINNING = re.compile(
    r"\W*(?:\d+\W+)?(?:first(?:ly)?,|start by|begin by|to begin|to start)", re.I
)
_HANDS = frozenset(
    "fill pour wash polish place put secure attach detach reattach screw unscrew tighten loosen insert rinse wipe "
    "dry soak scrub fold slice chop dice peel mix stir whisk beat knead roll bake boil simmer fry "
    "saute sauté cook heat preheat grill drain season serve wrap tape glue paint sand drill nail hang "
    "mount plug unplug press click tap select launch download install restart reboot enter type navigate "
    "log drag copy paste upload assemble disassemble sketch trace sew knit stitch thread tie pull push "
    "lift lower flip rotate repeat wait leave lay remove add combine spread sprinkle cover bring "
    "turn open close shut let transfer arrange blend strain refrigerate chill reinstall setup".split()
)
"""What is done with the hands."""
_MAKING = frozenset(
    "preheat oven whisk simmer sauté saute bake boil stir tablespoon tablespoons teaspoon "
    "teaspoons tbsp "
    "tsp cup cups drain knead dough skillet marinate screwdriver click drag navigate menu button "
    "install "
    "download unplug".split()
)
"""Words of recipes and of instructions for machines."""
_BRINGS_IN = re.compile(
    r"\b(?:an?|some|one|two|three|enough) ((?:[a-z-]{3,}(?: (?=[a-z-]{3}))?){1,3})"
)
_TAKES = re.compile(r"\b(?:the|this|these|those) ([a-z-]{3,})(?: ([a-z-]{3,}))?")
_COMMON = frozenset(
    "and the for with that this from your you are not can same best most more other first last next "
    "time way day days right world whole end use one new good lot number more long small large great "
    "different specific people person things thing following main".split()
)
_WORD = re.compile(r"[^\W_]+")
_SENTENCE_END = re.compile(r"[.!?]\s|[。！？]|\n")
_FIRST_WORD = re.compile(r"\W*(?:\d{1,3}\W+)?(?:carefully |gently |slowly |now |then |finally, )?(\w+)", re.I)

NAMED, ANNOUNCED = "items named as steps", "items announced as steps"
STEPS = (NAMED, ANNOUNCED)
"""The reasons that hold for what is nested in the items, too."""
_LOOKED_AT = 2000
"""Characters of a prompt whose words are known things."""
_SHARE, _SHARE_ASKED, _SHARE_OF_ONE = 0.5, 0.4, 0.25
"""Least share of items with evidence: of any list, where something is to be done, and where one thing
is asked for."""
_TAKEN = 0.5
"""What it counts for that an item takes up a thing that an earlier one has brought in."""
_BEGINS_WITHIN = 90
"""Characters behind a title in which a word of time stands for the whole item."""


def procedure(
    form: ListForm, titles: Sequence[str], contents: Sequence[str], before: str, prompt: str
) -> str | None:
    """Why the items are steps of one procedure; None when they are not.

    Args:
        before: the answer up to the first item.
        prompt: what the user asked.
    """
    other = languages.is_foreign(contents)

    def either(text: str, english: re.Pattern[str], foreigners: re.Pattern[str]) -> bool:
        return bool(english.search(text) or (other and foreigners.search(text)))

    def labels(english: re.Pattern[str], foreigners: re.Pattern[str]) -> int:
        return sum(
            bool(english.match(title) or (other and foreigners.match(title))) for title in titles
        )

    if labels(_ORDERED_LABEL, languages.ORDERED_LABEL) > 1:
        return NAMED
    words = [frozenset(_WORD.findall(content.lower())) for content in contents]
    needed = sum(
        not own.isdisjoint(_RECKONING) and _NEEDED.search(text) is not None
        for own, text in zip(words, contents, strict=True)
    )
    if labels(_DERIVED, languages.DERIVED) > 1 or needed > 1:
        return "items that derive one result"
    argument = _ARGUMENT.match(titles[0]) and form == "sections"
    takes_up = not _TAKES_UP.match(titles[0]) and any(map(_TAKES_UP.match, titles))
    if argument or takes_up or _count(_ARGUMENT.match, titles) > 1:
        return "sections of one argument"
    if _in_phases(titles):
        return "items that lead from an idea to its use"
    if form == "sections" and labels(_STAGE_LABEL, languages.STAGE_LABEL):
        return "sections of one procedure"
    announcement = announcement_of(before, form)
    asked, doing, order, work = _asks(prompt, other)
    if work:
        return "parts of one work"
    aside = _ASIDES.search(announcement) is not None
    advice = aside or either(announcement, _ADVICE, languages.ADVICE)
    if not advice and either(announcement, _ANNOUNCED, languages.ANNOUNCED):
        return ANNOUNCED
    if _WORKING.search(announcement) and _count(_LABELLED.match, contents) < len(contents):
        return ANNOUNCED
    ideas = IDEAS.search(announcement) is not None
    if form in ("numbered", "bullets") and _BEGINNING.match(contents[0]) and not ideas:
        return "items that begin with a first step"
    if aside:
        asked = doing = order = False
    in_row = form not in ("sections", "rows", "questions")
    if order and in_row and not ideas and not advice:
        return "items of what is asked for in order"
    share = _SHARE_OF_ONE if asked else _SHARE_ASKED if doing else _SHARE
    if ideas or advice:
        share = _SHARE
    work = list(_evidence(titles, contents, words, other, making=asked))
    steps: float = sum(work)
    if steps:
        known = frozenset(_WORD.findall(f"{prompt[-_LOOKED_AT:]} {announcement}".lower()))
        taken = _takes_up_things(contents, known)
        steps += _TAKEN * sum(one and not done for one, done in zip(taken, work, strict=True))
    if steps >= share * len(contents):
        return "items that go on from one to the next"
    return None


def announcement_of(before: str, form: ListForm) -> str:
    """The last sentence before the items, which says what they are."""
    said = _SENTENCE_END.split(before.rstrip().rpartition("\n")[2])[-1]
    leads = said[-1:] in (":", "：") or said[:1] == "#"
    return said if leads or form != "sections" else ""


def _evidence(
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
        found = _FIRST_WORD.match(title)
        yield bool(
            (found and _of_hands(found[1].lower()))
            or (not own.isdisjoint(_SEQUENCE_WORDS) and _SEQUENCE.search(content, 0, len(title) + _BEGINS_WITHIN))
            or (making and not own.isdisjoint(_MAKING))
            or (
                other
                and (
                    languages.HANDS.match(title)
                    or languages.SEQUENCE.search(content, 0, len(title) + _BEGINS_WITHIN)
                    or (making and languages.MAKING.search(content))
                )
            )
        )


def _of_hands(word: str) -> bool:
    """Whether a word is what hands do, or the doing of it: dry, drying, chopping, baking."""
    stem = word.removesuffix("ing")
    return word in _HANDS or (
        stem != word and not _HANDS.isdisjoint((stem, stem + "e", stem[:-1]))
    )


def _takes_up_things(contents: Sequence[str], known: frozenset[str]) -> Iterator[bool]:
    """Whether each item speaks of a thing as known that an earlier one has brought in.

    Args:
        known: words that all items see.
    """
    brought: set[str] = set()
    for content in contents:
        small = content.lower()
        yield bool(brought) and _takes(small, brought)
        for phrase in _BRINGS_IN.findall(small):
            brought.update(
                word for word in phrase.split() if word not in _COMMON and word not in known
            )


def _takes(small: str, brought: set[str]) -> bool:
    own: dict[str, int] = {}
    for found in _WORD.finditer(small):
        own.setdefault(found[0], found.start())
    return any(
        word in brought and own.get(word, -1) >= found.start()
        for found in _TAKES.finditer(small)
        for word in found.groups()
        if word
    )


@lru_cache(maxsize=8)
def _asks(prompt: str, other: bool) -> tuple[bool, bool, bool, bool]:
    """Whether a prompt asks for one thing that is made from beginning to end, for something to be
    done, for an order, and for a work of many parts; they are the same for a whole answer."""
    asked = bool(_ASKED.search(prompt) or (other and languages.ASKED.search(prompt)))
    doing, order, work = (bool(each.search(prompt)) for each in (_DOING, _ORDER, _WORK))
    return asked, doing, order, work


def _in_phases(titles: Sequence[str]) -> bool:
    """Whether the titles name the phases of one undertaking, in order."""
    verbs = [next((at for at, each in enumerate(_PHASES) if each.match(t)), -1) for t in titles]
    nouns = [next((at for at, each in enumerate(_WORKFLOW) if each.search(t)), -1) for t in titles]
    return any(
        len(set(named)) >= _LEAST_PHASES
        and len(named) > len(titles) / 2
        and sum(b < a for a, b in pairwise(named)) <= len(named) // 5
        for named in ([phase for phase in found if phase >= 0] for found in (verbs, nouns))
    )


def _count(matches: Callable[[str], object], texts: Sequence[str]) -> int:
    return sum(matches(text) is not None for text in texts)
