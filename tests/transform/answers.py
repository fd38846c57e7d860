"""Answers as models write them, with what the rules should make of them."""

TIPS = """Here are some tips to sleep better:

1. **Keep a schedule**: Going to bed at the same hour every day trains the body's clock.

2. **Dim the lights**: Bright screens tell the brain that it is still day.
   - Lamps count too.
   - So does the bathroom mirror.

3. **Cool the room**: Most people sleep best at about eighteen degrees.

In conclusion, small habits add up. Sleep well!
"""

BULLETS = """Popular herbs:

- Basil - sweet and slightly peppery, at home in every Italian kitchen
- Rosemary - strong and resinous, made for roasted meat and potatoes
- Mint - cooling, for teas and desserts and a good many summer drinks

All of them can be dried."""

SECTIONS = """# Moving abroad

Moving to another country is a large decision.

## Advantages

Salaries are often higher, and a new language opens doors that stay shut at home.

## Disadvantages

Friends and family are far away, and paperwork takes months in most places.

## Conclusion

It depends on what matters to you.
"""

LABELS = """Both cities have a lot to offer.

**Rome**: The ruins of an empire stand between cafes, and the food alone is worth the trip.

**Oslo**: The fjord begins behind the opera, and forests are a tram ride away from the centre.

Which one to choose depends on the season."""

ORDINALS = """There are three reasons for this.

First, the roads were built for a tenth of the traffic that they carry today.

Second, buses are slow and rare, so that few people leave their cars at home.

Third, cycling is dangerous where lorries and bicycles have to share a lane.

Together they explain the daily jam."""

CONTRAST = """**Pros:**
1. People save the way to work and can live where rents are low.
2. Offices need fewer desks, which makes them cheaper for the firm.

**Cons:**
1. Newcomers learn slowly, as nobody sits beside them to be asked.
2. Some homes have no room for a desk and no door that can be shut.
"""

PARALLEL = {
    "numbered, with nested bullets": (TIPS, ["Keep a schedule", "Dim the lights", "Cool the room"]),
    "bullets": (BULLETS, ["Basil", "Rosemary", "Mint"]),
    "sections": (SECTIONS, ["Advantages", "Disadvantages"]),
    "labelled paragraphs": (LABELS, ["Rome", "Oslo"]),
    "ordinals": (
        ORDINALS,
        ["the roads were built", "buses are slow and rare", "cycling is dangerous where lorries"],
    ),
    "bold headings": (CONTRAST, ["Pros", "Cons"]),
}
"""Name -> an answer whose parts are independent, and the titles of its block."""

_ITEM = "Bright screens tell the brain that it is still the middle of the day"
_PAIR = "1. **Light**: {}.\n\n2. **Noise**: {}.\n"

SERIAL = {
    "recipe": "Instructions:\n\n1. Preheat the oven to 180 degrees and butter a large tin.\n"
    "2. Whisk the eggs with the sugar until the mixture is pale and thick.\n"
    "3. Fold in the flour, pour everything into the tin and bake for an hour.\n",
    "steps": "Step 1: Open the case and find the four screws on the back of the board.\n"
    "Step 2: Remove the screws and lift the board out of the case with care.\n"
    "Step 3: Put the new board in and fasten the screws in the same order.\n",
    "sections of a procedure": "### Steps to hang a picture:\n\n#### 1. Find the place\nHold it "
    "against the wall and mark the upper edge with a pencil.\n\n#### 2. Drill the hole\nDrill "
    "at the mark, as deep as the plug is long, and blow the dust out.\n",
    "running sum": "- **Apples**: They cost 3 coins each, so together they are worth 417 coins.\n"
    "- **Pears**: Added to the 417 coins of before, they bring the value to 902 coins.\n",
    "equations": "1. **Speed**: The speed is v = s / t, which gives the metres of one second.\n"
    "2. **Energy**: The energy is E = m * v * v / 2, which gives the work that is stored.\n",
    "then": _PAIR.format(_ITEM, "Then shut the windows, so that the street stays outside"),
    "another": _PAIR.format(_ITEM, "Another cause of bad sleep are cars that pass by at night"),
    "previous": _PAIR.format(_ITEM, "It matters less than the previous point, but it adds up"),
    "as above": _PAIR.format(_ITEM, "Ear plugs help, as mentioned above, and cost next to nothing"),
    "the latter": _PAIR.format(_ITEM, "Cars and planes wake people, and the latter are louder"),
    "comparison": _PAIR.format(
        _ITEM, "Far louder than light is bright, unlike light it has no lid"
    ),
    "code": "- **Read**: This opens the file and reads it:\n  ```python\n  text = f.read()\n  ```\n"
    "- **Write**: This opens the file and writes it:\n  ```python\n  f.write(text)\n  ```\n",
    "table": "- **Prices**: These are the prices of the last two years, in coins\n  | a | b |\n"
    "- **Sizes**: These are the sizes of the last two years, in metres\n  | a | b |\n",
    "dialogue": "Ann: I have never been to the sea, and I am not sure that I want to go there.\n"
    "Bob: You would like it, everybody likes the sea when the weather is good.\n"
    "Ann: That is what you said about the mountains, and I was cold for a week.\n",
    "pronoun": "1. Basalt is a dark rock that forms where lava cools quickly at the surface.\n"
    "2. It covers most of the ocean floor and large parts of Iceland and India.\n",
    "acronym": "- **Roads**: The national road agency (NRA) plans and builds them all.\n"
    "- **Bridges**: Smaller ones belong to towns, all the others belong to the NRA as well.\n",
    "last name": "- **Music**: The hall was built for Anna Keller, who sang there for ten years.\n"
    "- **Dance**: When the singer Keller had left, dancers from the north moved into it.\n",
    "prose": "It was a quiet street. Nobody had lived in the last house for as long as she knew.",
    "one item": "There is one rule:\n\n1. **Be kind**: Nothing else has been of use here.\n",
    "same titles": "- **Hours**: The shop is closed on Sundays and on the first Monday.\n"
    "- **Hours**: The museum next to it is open on all days but Tuesday.\n",
    "short items": "- red\n- green\n- blue\n- yellow\n- orange\n- black\n- white\n",
}
"""Name -> an answer in which a part needs another, or that has no parts."""
