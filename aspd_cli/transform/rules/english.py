"""What the rules look for in English to tell the steps of one thing from items that stand alone.

The same of other languages is in `languages`.
"""

import re

ORDERED_LABEL = re.compile(
    r"\W*(?:(?:\d{1,2}(?:st|nd|rd|th) )?"
    r"(?:step|day|week|month|year|phase|stage|part|chapter|act|scene|verse|stanza|round|level"
    r"|session|lesson|episode|chorus|bridge|line|move|slide|panel|page|paragraph|hour|minute)s?\s*"
    r"(?:#?\d|[ivx]+\b|one|two|three|four|five|six|[:.\-–]|$)"
    r"|(?:early |late |mid-?)?(?:morning|noon|midday|afternoon|evening|night)s?\b"
    r"|(?:mon|tues|wednes|thurs|fri|satur|sun)days?\b"
    r"|(?:mon|tues?|wed|thu(?:rs?)?|fri|sat|sun)\.?\W*$"
    r"|(?:january|february|march|april|may|june|july|august|september|october|november|december)"
    r"(?:\W*$|\W* [-–—(]|\W*:|\W+\d)"
    r"|.{2,60}\(\d{1,3}(?::\d\d)?\s*[-–]\s*\d{1,3}(?::\d\d)?\s?"
    r"(?:s|sec|seconds|min|minutes|[ap]\.?m\.?)?\)?\W*$"
    r"|(?:initial|first|second|third|final|last) (?:step|phase|stage|part|act|half|week|day)\b)",
    re.IGNORECASE,
)
ARGUMENT = re.compile(
    r"\W*(?:(?:the )?(?:problem|challenge)(?: statement)?|(?:the |our |proposed )?solutions?"
    r"|hypothes[ie]s"
    r"|methodology|methods?|(?:key )?(?:results|findings)|discussion|thesis(?: statement)?|argument"
    r"|counter-?arguments?|rebuttal|analysis|proof|cause|effects?|inputs?|outputs?|algorithm)\W*$",
    re.IGNORECASE,
)
"""Parts of one line of thought, each of which takes up the one before."""
TAKES_UP = re.compile(
    r"\W*(?:(?:an? |the |for )?examples?(?: \w+)?|samples?(?: \w+)?|explanations?|answers?"
    r"|solutions?"
    r"|translations?|rationale|justification|interpretation|usage|mark(?:ing)? schemes?"
    r"|answer keys?|hints?)\W*$",
    re.IGNORECASE,
)
"""What belongs to something that was said before."""
PHASES = re.compile(
    r"\W*(?:"
    + "|".join(
        f"({verbs})"
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
    + r")\b",
    re.IGNORECASE,
)
"""What is done to a thing from its idea to its use, in the order in which it is done;
a group each."""
WORKFLOW = tuple(
    re.compile(rf"\b(?:{words})", re.IGNORECASE)
    for words in (
        "requirement|research|problem|collecti|gathering|acquisition|surveying|planning",
        "clean|pre-?process|preparation|design|architect|explorat|permit",
        "feature|model(?! (?:valid|eval|test|optim|tun|deploy|monit))|develop|build|training"
        "|coding|construct",
        "validat|evaluat|test|optimi|tuning|quality",
        "deploy|launch|release|rollout|implementation|installation",
        "monitor|maint|report|support|feedback|iterat|inspection|review",
    )
)
"""What the phases of a project are called."""
ANY_WORKFLOW = re.compile("|".join(each.pattern for each in WORKFLOW), re.IGNORECASE)
LEAST_PHASES = 4
DERIVED = re.compile(
    r"\W*(?:calculat|comput|determin|estimat|solv|substitut|simplify|find the|total|final|convert"
    r"|appl(?:y|ying) the (?:\w+ )?(?:formula|equation|theorem|rule)"
    r"|combin|sum\b|add (?:\w+ )?\d|distribute the|factor(?:ing|ize)?\b|isolat|rearrang|subtract"
    r"|multipl|divid|let\b|given\b|proof|base case|inductive)\w*",
    re.IGNORECASE,
)
RECKONING = frozenset("know find calculate determine convert compute derive solve".split())
NEEDED = re.compile(
    r"\b(?:we|you|i|let us|let's) (?:(?:need|have) to |must |can |now )?"
    r"(?:know|find|calculate|determine|convert|compute|derive|solve)\b",
    re.IGNORECASE,
)
STAGE_LABEL = re.compile(
    r"\W*(?:(?:directions?|methods?|materials?|setup|implementation|execution)"
    r"(?:\W*$| (?:to|for|needed|required)\b)"
    r"|(?:tools|supplies|materials|equipment)(?: (?:and|&|or) \w+)? (?:needed|required)\W*$"
    r"|(?:instructions?|steps?|procedure|preparation|ingredients|installation|how to)\b"
    r"|(?:the )?(?:\w+ )?(?:process|assembly|application)\W*$|(?:finishing|final) touches"
    r"|(?:gather|prepare|prep|assemble|collect)(?:ing)? (?:your |the |all )?"
    r"(?:\w+ )?(?:suppl|material|ingredient|tool|equipment|gift|surface|area|car|meat|dough)\w*)",
    re.IGNORECASE,
)
ANNOUNCED = re.compile(
    r"^\W*(?:the |basic )?(?:process|mechanism|procedure) (?:of|behind)\b[^.:]*\W*$"
    r"|\b(?:step[- ]by[- ]step|(?:following|these|\w+ (?:easy|simple|basic)) steps"
    r"|involv(?:es?|ing) (?:\w+ )*steps|steps (?:below|to|for|involved|are)"
    r"|(?:the|outline of) steps"
    r"|steps (?:that )?(?:you|we)(?: will|'ll| would)? (?:need|have|should|must)\b"
    r"|(?:suggested|recommended|logical) order|instructions|recipe"
    r"|how to make(?! (?:it|the most|sure|your)\b)"
    r"|in order\W*$"
    r"|(?:directions|method|steps?|procedure|process|sequence|stages|phases|algorithm|calculation"
    r"|(?<!social )proof|itinerary|schedule"
    r"|plot|storyline|chapters|lyrics|timeline|agenda|tutorial|workflow"
    r"|how to (?:use|play|run|install|apply))"
    r"(?: (?:below|is|are|as follows|follows|includes?|looks? like this|for \w+|to \w+))?\W*$)",
    re.IGNORECASE,
)
STRATEGY = re.compile(r"\bstrateg(?:y|ies)\b[^.]*\bsteps\W*$", re.IGNORECASE)
"""Announces parts of a plan as steps; whether they are is told by what they say."""
IN_STEPS = re.compile(
    r"\binvolves? (?:\w+ ){0,3}(?:steps|stages|phases)\b(?! (?:you|one) (?:can|could|may|might))"
    r"|\b(?:outline|overview|summary|list) of (?:the|all) (?:\w+ )?steps\b",
    re.IGNORECASE,
)
"""Says anywhere in the paragraph before the items that they are steps."""
GUIDED = re.compile(
    r"\b(?:guide|outline|roadmap|(?:general|basic|possible|simple|high-level|common) "
    r"(?:approach|process|way|method|workflow)|walk(?:s|ing)? (?:you )?through|here'?s how"
    r"|how (?:you|we) (?:can|could|might|would) (?:do|implement|approach|set|create|build|achieve"
    r"|proceed))\b[^.]*:$",
    re.IGNORECASE,
)
"""Numbered items that are probably steps."""
WORKING = re.compile(r"\bwork(?:s|ed)?\W*$", re.IGNORECASE)
LABELLED = re.compile(r"\W*(?:\d{1,3}[.)]\s*)?(?:\*\*|[^.:\n]{2,60}:\s)")
ADVICE = re.compile(
    r"\b(?:steps?|strategies) (?:that )?(?:you|we|they|one|i|people) (?:can|could|may|might)\b"
    r"(?! follow)|(?<!involves )(?<!involve )\b(?:some|several|few|additional|practical"
    r"|actionable|proactive|preventi(?:ve|on)|general) (?:\w+ )?"
    r"(?:steps|tips|ways|strategies|suggestions|ideas|examples|options)\b",
    re.IGNORECASE,
)
"""Steps that are advice, each of which can be taken alone."""
ASIDES = re.compile(
    r"\b(?:tips?|variations?|notes?|reminders?|warnings?|ways|reasons|benefits|factors)\W*$",
    re.IGNORECASE,
)
IDEAS = re.compile(
    r"\b(?:ideas?|options?|examples?|dishes|foods?|methods|alternatives|choices|ways|approaches"
    r"|techniques|recipes|activities|remedies|suggestions|questions)\b",
    re.IGNORECASE,
)
"""Things to choose from, each of which is whole."""
ASKED = re.compile(
    r"\b(?:step[- ]by[- ]step|recipe (?:for|of)|(?:the|what|list) steps|steps (?:to|for|in|needed"
    r"|required)"
    r"|instructions (?:to|for|on)|how (?:do|can|would|should) (?:i|you|we|one) "
    r"(?:make|cook|bake|build|install|set up|wrap|tie|assemble|draw|sew|knit)|how to (?:make|cook"
    r"|bake|build"
    r"|install|set up|wrap|tie|assemble|draw|sew|knit)|prove that|calculate the)\b",
    re.IGNORECASE,
)
"""What is asked for is one thing, made from beginning to end."""
WORK = re.compile(
    r"\b(?:write|create|compose|tell|generate|draft|make|continue|conduct|simulate|structure)\b"
    r"[^.\n]{0,60}\b(?:story|(?:movie|film|podcast|video|comedy|youtube) script|screenplay|dialogue"
    r"|conversation|debate|poem|sonnet|song|rap|lyrics|play|skit|scene|monologue|itinerary|plot"
    r"|schedule)\b"
    r"|\bschedule (?:the|these|those|my|our|some|a|\d+)\b[^.\n]{0,20}\b(?:meeting|appointment|shift"
    r"|session|call|interview|task)s?\b"
    r"|\b(?:charsheet|(?:character|stat) ?(?:sheet|card|block|build))s?\b",
    re.IGNORECASE,
)
"""A work whose parts live by each other is asked for."""
ORDER = re.compile(
    r"\bwhat order\b|\bin (?:the |chronological |the right |the correct "
    r"|sequential )?order\b(?! to)|\bstages of\b"
    r"|\bstep[- ]by[- ]step\b|\b(?:what are |list |me |outline )the (?:\w+ )?steps\b",
    re.IGNORECASE,
)
"""An order is asked for."""
DOING = re.compile(
    r"\b(?:how (?:do|can|could|would|should|to)"
    r"|(?:easy|easiest|best|right|proper|quick|simple|good) (?:to )?way"
    r"|guide|procedure|fix|repair|replace|clean|remove|set ?up|install"
    r"|(?:want|need|like|trying|help me|can you|could you) (?:to )?"
    r"(?:create|build|make|develop|design|implement|code|program))\b",
    re.IGNORECASE,
)
"""Something is to be done."""
SEQUENCE = re.compile(
    r"\b(?:once (?:you|the|your|it|they|all|everything|done)|after (?:you|that|\w+ing)\b"
    r"|until (?:it|the|they|you|all|\w+ed)|repeat|then,? |afterwards?|let it|now that|finally,)",
    re.IGNORECASE,
)
SEQUENCE_WORDS = frozenset(
    "once after until repeat then afterwards afterward let now finally".split()
)
"""One of these is in whatever `SEQUENCE` finds: looking for them first takes a tenth of it."""
_FIRST = r"(?:first(?:ly)?,|start by|begin by|to begin|to start)"
BEGINNING = re.compile(rf"\W*(?:\d+\W+)?{_FIRST}", re.IGNORECASE)
BEGINNING_BELOW = re.compile(
    rf"\W*(?:\d+\W+)?[^.:\n]{{2,60}}[:*\n]\W*(?:{_FIRST}|the first step)", re.IGNORECASE
)
"""The same behind a label."""
WALKED = re.compile(
    r"\b(?:in|of|what|how) (?:this|the|each|every|our|your)\b[^.]*\b(?:code|script|program|snippet"
    r"|function|query|command|expression|example|line|part)s?\b[^.]*[:：]$",
    re.IGNORECASE,
)
"""Announces a walk through a program that was shown."""
QUOTED_CODE = re.compile(r"\W{0,8}(?:\d+[.)]\s*)?(?:\*\*)?`|\W*\d*\W*[Ll]ines? \d")
"""How an item of such a walk begins that says itself which part of the program it is about."""
SORTED = re.compile(
    r"\b(?:categori[sz]e|classify|cluster|bucket"
    r"|(?:sort|group|divide|organi[sz]e|put|split)(?= [^\n]{0,200}\binto\b))\b"
    r" (?:\w+ ){0,4}?(?:the|these|those|them|this|following|my|each|all|it)\b",
    re.IGNORECASE,
)
"""Given things are to be told apart: each stands under one head, and the last gets the rest."""
HANDS = frozenset(
    "fill pour wash polish place put secure attach detach reattach screw unscrew tighten loosen "
    "insert rinse wipe dry soak scrub fold slice chop dice peel mix stir whisk beat knead roll "
    "bake boil simmer fry saute sauté cook heat preheat grill drain season serve wrap tape glue "
    "paint sand drill nail hang mount plug unplug press click tap select launch download install "
    "restart reboot enter type navigate log drag copy paste upload assemble disassemble sketch "
    "trace sew knit stitch thread tie pull push lift lower flip rotate repeat wait leave lay "
    "remove add combine spread sprinkle cover bring turn open close shut let transfer arrange "
    "blend strain refrigerate chill reinstall setup roast baste season skewer stuff carve "
    "marinate clean trim measure".split()
)
"""What is done with the hands."""
MAKING = frozenset(
    "preheat oven whisk simmer sauté saute bake boil stir tablespoon tablespoons teaspoon "
    "teaspoons tbsp tsp cup cups drain knead dough skillet marinate screwdriver click drag "
    "navigate menu button install download unplug".split()
)
"""Words of recipes and of instructions for machines."""
PROGRAMMING = frozenset(
    "create build design implement define write configure deploy extract convert calculate "
    "compute load import train preprocess initialize connect integrate query store fetch parse "
    "render normalize split tokenize compile execute".split()
)
"""What is done by those who make programs; evidence only where a way is shown."""
BRINGS_IN = re.compile(
    r"\b(?:an?|some|one|two|three|enough) ((?:[a-z-]{3,}(?: (?=[a-z-]{3}))?){1,3})"
)
DONE_BELOW = re.compile(r"\n[ \t]+(?:[-*•]|\d{1,2}[.)]|[a-z][.)])[ \t]+(?:\*\*)?(\w+)")
"""The first words of what is listed inside of an item."""
TAKES = re.compile(r"\b(?:the|this|these|those) ([a-z-]{3,})(?: ([a-z-]{3,}))?")
COMMON = frozenset(
    "and the for with that this from your you are not can same best most more other first last "
    "next time way day days right world whole end use one new good lot number more long small "
    "large great different specific people person things thing following main".split()
)
SENTENCE_END = re.compile(r"[.!?]\s|[。！？]|\n")
FIRST_WORD = re.compile(
    r"\W*(?:\d{1,3}\W+)?(?:carefully |gently |slowly |now |then |finally, )?(\w+)", re.I
)
WAYS = re.compile(
    r"\b(?:ways|methods|options|approaches|techniques|alternatives|solutions)\b[^.]*:$",
    re.IGNORECASE,
)
"""Announces things that are whole each, with code of their own."""
WAY = re.compile(
    r"\W*(?:(?:option|method|approach|solution|alternative|way|fix|variant) "
    r"(?:#?\d|[a-e]\b|one|two|three|four)|(?:using|with|via) (?:an? |the )?\w"
    r"|use (?!the\b|your\b|this\b)\W?\w"
    r"|(?:方法|方案|方式|选项)[一二三四五\d]|(?:使用|利用|用(?![户途法]))\w)",
    re.IGNORECASE,
)
"""The title of one of them."""
CHOOSES = re.compile(
    r"\W*(?:(?:how to )?(?:choos|select|pick|decid)(?:e|ing)\b|which\b.*\b(?:choose|pick|best|right"
    r"|better)|making (?:the|your|a) (?:right |best |final )?(?:choice|decision)"
    r"|(?:key |main |overall )?(?:comparisons?|differences?|similarities|contrasts?)\b|comparing"
    r"|recommendations?\W*$|(?:the )?(?:final |my |our )?(?:verdict|recommendation|winner|decision"
    r"|conclusions?|bottom line)\b|(?:in )?(?:summary|conclusion|short|essence)\b|overall"
    r"|putting (?:it|everything)|bringing|wrapping up|(?:key )?take-?aways?\b|tl;?dr"
    r"|the (?:big|bigger) picture|relationship between|(?:how they|how these|why these)\b"
    r"|next steps"
    r"|what (?:this|these|it all) means?|(?:short|final) answer)",
    re.IGNORECASE,
)
"""Titles of sections that are made of what their siblings say."""
PLANNED = re.compile(
    r"\W*(?:(?:project|implementation|proposed|success|key|program) )?"
    r"(?:timelines?|milestones|schedule|deliverables|(?:success )?metrics(?: (?:for|of) success)?"
    r"|(?:key )?performance indicators(?: \(KPIs\)?)?|KPIs?|(?:acceptance|success) criteria"
    r"|evaluation(?: (?:criteria|plan|metrics))?|(?:monitoring|measurement) and evaluation"
    r"|measur\w+ (?:of )?success|next steps|call to action|budget(?: (?:and|&) \w+)?)\W*$",
    re.IGNORECASE,
)
"""Titles of parts of a plan that hold for its other parts."""
TOTAL = re.compile(
    r"\b(?:exactly|in total|(?:a|the) total of|totall?ing|adds? up to|sums? to|budget of)"
    r" (?:(?:around|about|exactly|only) )?[$€£]?\d[\d,.]*k? ?"
    r"(?:cards?|points?|calories|kcal|dollars|euros|usd|hours|minutes|m|km|meters|miles|credits"
    r"|grams?|g|percent|%|[$€£])\b|\b\d+[ -](?:minutes?|hours?|points?) (?:in )?total\b",
    re.IGNORECASE,
)
"""A sum that what is asked for must come to."""
RESULT = re.compile(
    r"\W*(?:the |your )?(?:grand |final |overall )?(?:total|result|sum|answer|outcome)\b",
    re.IGNORECASE,
)
"""The title of a last item to which the others lead."""
ASSUMING = frozenset("assume assuming suppose estimate".split())
ASSUMED = re.compile(r"\b(?:assum(?:e|ing)|suppose|estimate that)\b", re.IGNORECASE)
"""What is reckoned with in an estimate."""
