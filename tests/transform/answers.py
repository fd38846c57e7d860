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

CHINESE = """以下是一些改善睡眠的建议：

1、**固定作息**：每天在同一时间上床睡觉，可以让身体的生物钟保持稳定，入睡会更加容易。
2、**调暗灯光**：睡前一小时关掉明亮的屏幕，因为蓝光会让大脑以为现在还是白天。
3、**降低室温**：大多数人在十八度左右的房间里睡得最好，太热的房间会让人半夜醒来。

总之，小小的习惯可以带来很大的改变。
"""

CHINESE_SECTIONS = """移居国外是一个重大的决定。

一、优点
收入往往更高，而且新的语言可以打开在家乡始终关闭的大门，孩子们也能在两种文化里长大。

二、缺点
朋友和家人都在很远的地方，大多数地方的手续要办好几个月，冬天也可能漫长而寒冷。
"""

CHINESE_ORDINALS = """交通拥堵有三个主要的原因。

首先，道路是按照现在车流量的十分之一来修建的，早晚高峰的时候每个路口都排着长队，司机们往往要等好几个红灯。

其次，公共汽车又慢又少，郊区的居民几乎没有别的办法，很少有人愿意把自己的汽车留在家里。

最后，在卡车和自行车共用一条车道的地方骑车非常危险，所以家长们宁愿开车送孩子去上学。

总之，三者共同造成了每天的堵车。
"""

GERMAN = """Beide Städte haben viel zu bieten.

**Rom**: Die Ruinen eines Weltreichs stehen zwischen den Cafés, und schon das Essen lohnt die Reise.

**Oslo**: Der Fjord beginnt hinter der Oper, und der Wald ist nur eine Fahrt mit der Bahn entfernt.

Zusammenfassend hängt die Wahl von der Jahreszeit ab."""

ALIKE = """1. An old man writes letters that nobody reads, and throws all of them into the sea,
   where the current takes them to the south.
2. An old man writes letters that nobody answers, as the ships they go to sank long ago
   in a storm that some people still talk about.
3. A violin in a pawnshop plays by itself when it rains, and nobody has ever bought it.
"""

PARALLEL = {
    "Chinese numbers": (CHINESE, ["固定作息", "调暗灯光", "降低室温"]),
    "Chinese numerals": (CHINESE_SECTIONS, ["优点", "缺点"]),
    "Chinese ordinals": (
        CHINESE_ORDINALS,
        [
            "道路是按照现在车流量的十分之一来修建的",
            "公共汽车又慢又少",
            "在卡车和自行车共用一条车道的地方骑车非常危险",
        ],
    ),
    "German labels": (GERMAN, ["Rom", "Oslo"]),
    "items that begin alike": (
        ALIKE,
        [
            "An old man writes letters that nobody reads",
            "An old man writes letters that nobody answers",
            "A violin in a pawnshop plays by itself",
        ],
    ),
    "numbered, with nested bullets": (TIPS, ["Keep a schedule", "Dim the lights", "Cool the room"]),
    "bullets": (BULLETS, ["Basil", "Rosemary", "Mint"]),
    "sections": (SECTIONS, ["Advantages", "Disadvantages"]),
    "labelled paragraphs": (LABELS, ["Rome", "Oslo"]),
    "ordinals": (
        ORDINALS,
        [
            "the roads were built for a tenth of the traffic",
            "buses are slow and rare",
            "cycling is dangerous",
        ],
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
    "comparison": _PAIR.format(_ITEM, "It wakes twice as many people, and it is told of less"),
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
    "parts of the day": "**Morning:**\nWe check the seals of the habitat and eat what we have "
    "grown.\n\n"
    "**Evening:**\nDinner is eaten together, and messages arrive from those at home.\n",
    "phases": "1. **Plan your garden**: Draw the beds on paper, and where the sun will stand.\n"
    "2. **Buy the seeds**: Good seeds are labelled with the year in which they were grown.\n"
    "3. **Build the beds**: Boards of larch last longest, and they need no paint at all.\n"
    "4. **Test the soil**: Kits from the shop say how sour it is and what it lacks.\n",
    "an argument": "## Problem\n\nMost towns have more cars than their streets can hold.\n\n"
    "## Solution\n\nTrams carry ten times as many people on the same width of street.\n",
    "an example": "## Rule\n\nA comma separates the two halves of a sentence with but.\n\n"
    "## Example\n\nI wanted to come, but the last train had left an hour before.\n",
    "these things": "- Drones often use bands around two gigahertz to talk to their pilots.\n"
    "- A cheap receiver that scans these bands catches what the pilots send.\n",
    "what was done": "- Chop three onions and a clove of garlic for the base of every soup.\n"
    "- Butter makes the chopped onions sweet, oil gives a darker taste to all.\n",
    "also": "- Basalt makes up most of the ocean floor and large parts of Iceland.\n"
    "- Granite is also found in many places, mostly in the cores of mountains.\n",
    "Chinese steps": "1. 把鸡蛋打散，加入少许盐和胡椒，用筷子充分搅拌，静置十分钟左右。\n"
    "2. 然后把平底锅烧热，放入一小块黄油，等黄油完全融化之后再转小火。\n"
    "3. 最后把蛋液倒进锅里，用木铲慢慢推动，直到鸡蛋半凝固就可以出锅。\n",
    "Chinese reference": "1. "
    "**光线**：明亮的屏幕会让大脑以为现在还是白天，因此晚上最好不要看手机。\n"
    "2. **噪音**：与上述因素相比，街上的噪音影响小一些，但是日积月累也会影响睡眠。\n",
    "German reference": "- **Licht**: Helle Bildschirme täuschen dem Gehirn vor, es sei noch Tag.\n"
    "- **Lärm**: Wie bereits erwähnt zählt jede Störung, auch die von der Straße draußen.\n",
    "French reference": "- La lumière des écrans fait croire au cerveau que la journée continue.\n"
    "- Ensuite, le bruit de la rue réveille ceux qui dorment d'un sommeil léger.\n",
    "same titles": "- **Hours**: The shop is closed on Sundays and on the first Monday.\n"
    "- **Hours**: The museum next to it is open on all days but Tuesday.\n",
    "short items": "- red\n- green\n- blue\n- yellow\n- orange\n- black\n- white\n",
}
"""Name -> an answer in which a part needs another, or that has no parts."""
