"""The closed world of the family general: what the embedded model knows about each thing.

One line a thing: name | kind of article | one sentence | a second one | a third one.
"""

from dataclasses import dataclass

_TABLE = """
tiger|a|a big cat with orange and black stripes.|It hunts alone at night and swims well.|Each tiger has stripes of its own, as people have fingerprints.
lion|a|a big cat of the African plains.|Lions live in groups called prides, and the females do most of the hunting.|The roar of a male can be heard far away.
wolf|a|a wild dog that lives in packs.|A pack hunts together and shares the food.|Wolves howl to find each other and to warn other packs.
fox|a|a small wild dog with a thick red tail.|It eats mice, birds and fruit.|Foxes are active at dusk and often live close to towns.
bear|a|a large and heavy animal with thick fur.|It eats berries, fish and honey, and sleeps through much of the winter.|Bears can climb trees and run fast.
owl|an|a bird that hunts at night.|It flies without a sound and hears a mouse under the snow.|It can turn its head almost all the way round.
eagle|an|a large bird of prey.|It sees a rabbit from very far away and dives on it.|Eagles build huge nests on cliffs and come back to them every year.
penguin|a|a bird that swims but cannot fly.|Most penguins live in the cold south and eat fish.|The parents take turns to keep the egg warm.
whale|a|the largest animal in the sea.|It breathes air and feeds its young with milk.|Whales sing to each other over long distances, and some travel half way round the world every year.
shark|a|a fish with rows of sharp teeth.|It can smell a drop of blood in the water.|Sharks lived in the sea long before there were trees on land.
bee|a|an insect that makes honey.|Bees live in large groups around one queen.|A bee tells the others by a dance where the flowers are, and carries pollen from plant to plant.
ant|an|a tiny insect that lives in large groups.|It can carry many times its own weight.|Ants follow trails of smell from the nest to the food.
spider|a|an animal with eight legs.|Most spiders catch insects in a web of silk.|The silk is thin, light and very strong.
frog|a|a small animal that lives in water and on land.|It begins life as a tadpole with a tail.|A frog catches flies with its long tongue and drinks through its skin.
horse|a|a strong animal that people ride.|It eats grass and can sleep standing up.|For a long time horses pulled carts and ploughs, before there were engines.
cow|a|a farm animal that gives milk.|It eats grass and chews it twice.|Cows have best friends and like to stand near them.
camel|a|a desert animal with one or two humps.|The humps are full of fat.|A camel can walk for many days without water, and then drinks a great deal at once.
elephant|an|the largest animal on land.|It uses its trunk to drink, to smell and to lift things.|Elephants live in families led by an old female and remember places for many years.
monkey|a|a clever animal with hands and a long tail.|It lives in trees and eats fruit.|Monkeys clean the fur of their friends to keep the peace.
bat|a|the only mammal that really flies.|It finds its way in the dark by listening to echoes.|By day bats hang upside down in caves and old houses.
apple|an|a round fruit that grows on trees.|It is red, green or yellow, and it keeps well in winter.|People eat it fresh, bake it in cakes or press it into juice.
banana|a|a long yellow fruit.|It grows in bunches in hot countries.|Bananas are picked green and turn yellow on the way to the shop.
lemon|a|a sour yellow fruit.|Its juice gives taste to fish, tea and cakes.|Sailors used to eat lemons at sea to stay healthy.
bread|-|baked dough of flour and water.|Yeast makes it soft and light.|It is one of the oldest foods, and nearly every country has a bread of its own.
cheese|-|food made from milk.|The milk is made thick, cut and pressed.|Some kinds are eaten fresh, and others are kept in cellars for months or years.
rice|-|a grass whose seeds feed half the world.|It grows in fields under water.|Rice is boiled or steamed and goes with almost everything.
honey|-|a sweet food made by bees.|They make it from the juice of flowers.|Honey keeps for years, because it holds very little water.
chocolate|-|a sweet made from cocoa beans.|The beans are dried, roasted and ground.|Long ago people drank it hot and bitter with spices.
coffee|-|a hot drink made from roasted beans.|It keeps people awake.|The plant grows on warm hills, and each red berry holds two beans.
tea|-|a drink made from dried leaves.|Green and black tea come from the same plant.|After water it is the drink that people drink most.
soup|-|a warm dish of water with things cooked in it.|It can be made from nearly anything.|A good soup takes time, some salt and a large pot.
salt|-|a white mineral that we put on food.|It comes from the sea or from mines.|In old times salt kept meat and fish from going bad, and it was worth a lot of money.
hammer|a|a tool for driving nails.|It has a heavy head on a handle.|Hold it near the end of the handle and let the weight do the work.
saw|a|a tool with teeth that cuts wood.|You push and pull it along a line.|Large teeth cut fast, and small teeth cut clean.
drill|a|a tool that makes holes.|It turns a sharp bit very fast.|There is a bit for wood, one for metal and one for stone.
ladder|a|two long bars with steps between them.|It helps people to reach high places.|Set it on firm ground, and never stand on the top step.
needle|a|a thin pin with a hole for the thread.|It joins pieces of cloth.|The first needles were made of bone.
scissors|-|two blades that cut between them.|They cut paper, cloth and hair.|The blades stay sharp longer if each pair is used for one thing only.
lamp|a|a thing that gives light.|Old lamps burned oil, and new ones use electricity.|A lamp beside the bed is good for reading.
clock|a|a machine that shows the time.|Its hands point to the hours and the minutes.|Before clocks people used the shadow of the sun, and sand that runs through glass.
compass|a|a small needle that points to the north.|It turns because the earth is a magnet.|With a map and a compass people found their way over the sea.
telescope|a|a tube with lenses that makes far things look near.|It shows the moon and the planets.|The largest ones stand on high mountains, where the air is clear and dry.
bicycle|a|a vehicle with two wheels and pedals.|It needs no fuel and little space.|A bicycle stays up because the rider keeps steering it under his weight.
train|a|a row of wagons that runs on rails.|It carries many people at once.|Rails are smooth, so that a train needs little power for its weight.
ship|a|a large boat for the open sea.|It carries people and goods from port to port.|A ship of steel floats because it is full of air and pushes much water aside.
plane|a|a machine that flies with fixed wings.|The air under the wings holds it up.|A plane crosses an ocean in a few hours and flies above most of the weather.
piano|a|an instrument with black and white keys.|Each key makes a small hammer strike a string.|It can play soft and loud, and many notes at once.
guitar|a|an instrument with six strings.|The player plucks them with the fingers.|The hollow body makes the sound louder.
violin|a|a small instrument with four strings.|It is held under the chin and played with a bow.|In an orchestra the violins often have the melody.
drum|a|a skin over a hollow body.|It gives music its beat.|Drums are among the oldest instruments and once carried messages from village to village.
sun|the|the star at the center of our system.|It gives us light and warmth.|Its light takes eight minutes to reach us.
moon|the|the body that goes round the earth.|It takes about a month for one turn.|The moon makes the tides, and always shows us the same side.
Mercury|-|the planet closest to the sun.|It is small and has almost no air.|Its days are very hot and its nights very cold.
Venus|-|the hottest planet.|Thick clouds keep the heat in.|Venus turns so slowly that its day is longer than its year.
Earth|-|the planet we live on.|Most of it is covered by water.|It is the only place we know that has life.
Mars|-|the red planet.|Its soil is full of rust.|Mars has the highest mountain of all planets, and robots drive around on it.
Jupiter|-|the largest planet.|It is a ball of gas with many moons.|Its red spot is a storm that is older than any of us.
Saturn|-|the planet with the bright rings.|The rings are made of ice and rock.|Saturn is so light that it would float on water.
Uranus|-|a cold blue planet that lies on its side.|It is made of gas and ice.|One year there is a whole human life long.
Neptune|-|the planet farthest from the sun.|Its winds are the fastest of all.|People found it by mathematics before they saw it.
river|a|water that flows to the sea.|It begins as a spring in the hills.|Many old cities stand on rivers, since boats were faster than carts.
mountain|a|land that rises high above the rest.|It grows when parts of the earth push together.|The higher you climb, the thinner and colder is the air.
desert|a|a place with almost no rain.|It is hot by day and cold at night.|Plants there have deep roots and keep water in thick stems.
forest|a|a large area full of trees.|It cleans the air and is home to many animals.|Under the ground the trees share water through their roots.
"""


@dataclass(frozen=True, slots=True)
class Thing:
    """One thing of the closed world."""

    name: str
    """As it stands in the middle of a sentence."""
    article: str
    """"a", "an" or "the"; "-" for none."""
    sentences: tuple[str, str, str]
    """What is known, the most important first."""

    @property
    def title(self) -> str:
        return self.name[0].upper() + self.name[1:]


THINGS = tuple(
    Thing(name, article, (first, second, third))
    for name, article, first, second, third in (
        line.split("|") for line in _TABLE.strip().splitlines()
    )
)
