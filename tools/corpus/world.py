"""Who, where and what the stories tell of: entities as dictionaries of the forms that templates ask for."""

from .template import pick, pick_distinct

HE = {"he": "he", "him": "him", "his": "his"}
SHE = {"he": "she", "him": "her", "his": "her"}

GIRLS = "Mia Anna Lily Rosa Nora Ella Zoe Ruby Clara Ivy Maya Tess Lucy Emma Ada Jane Kate Sara Amy Molly".split()
BOYS = "Tom Ben Sam Leo Max Finn Jack Owen Theo Hugo Noah Eli Oscar Paul Nick Peter Will Adam Luke Joe".split()
ANIMAL_NAMES = "Pip Bramble Dot Moss Hazel Biscuit Pepper Button Clover Rusty Pebble Nutmeg Tumble Sunny Maple Toby".split()
ANIMALS = "fox rabbit bear mouse duck owl frog squirrel hedgehog turtle cat dog goat pony beaver otter".split()
TRAITS = "kind brave shy curious clever quiet cheerful gentle busy careful stubborn playful honest lazy proud".split()

# place, preposition, hiding spots, a thing to see there
PLACES = [
    ("garden", "in", ["under the bench", "behind the roses", "beside the old pump"], "bees in the flowers"),
    ("park", "in", ["under a tall tree", "behind the swings", "near the pond"], "children on the swings"),
    ("forest", "in", ["under a fallen log", "behind a mossy rock", "in a hollow tree"], "mushrooms in the grass"),
    ("meadow", "in", ["in the tall grass", "under a bush", "beside the fence"], "yellow butterflies"),
    ("kitchen", "in", ["under the table", "behind the stove", "on the top shelf"], "a pot of soup"),
    ("attic", "in", ["in a dusty box", "behind the mirror", "under an old coat"], "a spider on a thread"),
    ("barn", "in", ["under the hay", "behind the cart", "in a wooden crate"], "two sleepy cows"),
    ("market", "at", ["under a stall", "behind the barrels", "between the baskets"], "apples in neat rows"),
    ("school", "at", ["under a desk", "behind the door", "in the cupboard"], "drawings on the wall"),
    ("library", "in", ["between two books", "under a chair", "behind the shelf"], "a cat asleep in the sun"),
    ("bakery", "at", ["behind the counter", "under the flour sacks", "near the oven"], "bread on long shelves"),
    ("mill", "at", ["behind the wheel", "under the stairs", "between the sacks"], "the big wheel going round"),
    ("bridge", "at", ["under the bridge", "between the stones", "beside the railing"], "small fish in the water"),
    ("river", "at", ["between the reeds", "under a flat stone", "beside a rowing boat"], "ducks in a row"),
    ("lake", "at", ["under the dock", "between the reeds", "beside the canoe"], "the sky in the water"),
    ("pond", "at", ["under a lily leaf", "between the reeds", "behind a stone"], "green frogs on the leaves"),
    ("beach", "at", ["under the sand", "between the rocks", "behind a sand hill"], "white waves and shells"),
    ("harbor", "at", ["behind the crates", "under a fishing net", "beside an anchor"], "ships with tall masts"),
    ("lighthouse", "at", ["under the stairs", "behind the lamp", "beside the door"], "ships far out at sea"),
    ("ship", "on", ["under the deck", "behind a barrel", "in a coil of rope"], "sailors at work on the sails"),
    ("island", "on", ["under a palm tree", "in a dark cave", "between the rocks"], "gulls above the cliffs"),
    ("hill", "on", ["behind a rock", "under the old oak", "in the tall grass"], "the whole valley below"),
    ("farm", "on", ["behind the barn", "under the wagon", "beside the well"], "hens in the yard"),
    ("station", "at", ["under a seat", "behind a suitcase", "beside the clock"], "trains coming and going"),
    ("castle", "in", ["behind a curtain", "under the stone stairs", "in the tower"], "flags on the walls"),
    ("village square", "in", ["under the bench", "behind the fountain", "beside the well"], "people with baskets"),
]

# thing, adjectives, what one does with it, the same in the past, how it can break
THINGS = [
    ("kite", ["red", "yellow", "paper"], "fly it high", "flew it high", "its string broke"),
    ("ball", ["blue", "rubber", "striped"], "bounce it", "bounced it", "it lost its air"),
    ("drum", ["tin", "small", "red"], "play it loudly", "played it loudly", "its skin tore"),
    ("boat", ["toy", "wooden", "little"], "sail it", "sailed it", "its mast broke"),
    ("doll", ["rag", "wooden", "tiny"], "play with it", "played with it", "its arm came off"),
    ("scarf", ["woolen", "green", "warm"], "wear it", "wore it", "it got a hole"),
    ("hat", ["straw", "blue", "funny"], "wear it", "wore it", "its brim tore"),
    ("lantern", ["brass", "paper", "old"], "light it at night", "lit it at night", "its glass cracked"),
    ("book", ["thick", "old", "green"], "read it", "read it aloud", "a page tore"),
    ("key", ["silver", "rusty", "tiny"], "open doors with it", "opened a door with it", "it bent"),
    ("whistle", ["tin", "silver", "wooden"], "blow it", "blew it", "it cracked"),
    ("bell", ["brass", "silver", "small"], "ring it", "rang it", "it cracked"),
    ("basket", ["round", "woven", "brown"], "carry things in it", "carried things in it", "its handle broke"),
    ("blanket", ["soft", "blue", "warm"], "sleep under it", "slept under it", "it got a hole"),
    ("umbrella", ["black", "striped", "big"], "hold it up in the rain", "held it up", "the wind bent it"),
    ("spoon", ["wooden", "silver", "long"], "stir soup with it", "stirred the soup with it", "it snapped"),
    ("shell", ["pink", "shiny", "white"], "listen to it", "listened to it", "it cracked"),
    ("map", ["old", "folded", "painted"], "follow it", "followed it", "it tore"),
    ("compass", ["brass", "round", "old"], "find the way with it", "found the way with it", "its needle stuck"),
    ("marble", ["glass", "blue", "shiny"], "roll it", "rolled it", "it cracked"),
    ("bucket", ["tin", "blue", "deep"], "carry water in it", "carried water in it", "it got a hole"),
    ("rope", ["long", "strong", "thick"], "climb it", "climbed it", "it snapped"),
    ("flute", ["wooden", "silver", "thin"], "play a song on it", "played a song on it", "it cracked"),
    ("wagon", ["red", "wooden", "little"], "pull it", "pulled it along", "its wheel came off"),
    ("sled", ["fast", "wooden", "blue"], "ride it down the hill", "rode it down the hill", "it hit a tree"),
    ("cup", ["clay", "white", "painted"], "drink tea from it", "drank tea from it", "it broke"),
    ("clock", ["little", "golden", "old"], "hear it tick", "listened to it tick", "it stopped"),
    ("paintbrush", ["thin", "soft", "new"], "paint with it", "painted with it", "it snapped"),
    ("telescope", ["long", "brass", "old"], "look at the stars with it", "looked at the stars", "its glass cracked"),
    ("flag", ["red", "little", "white"], "wave it", "waved it", "the wind tore it"),
]

# food, with its article or amount
FOODS = [
    ("bread", "a warm loaf of bread"), ("soup", "a pot of soup"), ("honey", "a jar of honey"), ("cake", "a small cake"),
    ("apple pie", "an apple pie"), ("cheese", "a piece of cheese"), ("rice", "a bowl of rice"), ("jam", "a jar of jam"),
    ("pumpkin pie", "a pumpkin pie"), ("milk", "a jug of milk"), ("stew", "a pot of hot stew"), ("corn", "a sack of corn"),
    ("cherry tart", "a cherry tart"), ("porridge", "a bowl of porridge"), ("fish", "a big fish"), ("tea", "a pot of tea"),
]

HELPERS = [
    ("the baker", HE), ("the gardener", SHE), ("the captain", HE), ("the teacher", SHE), ("the old fisherman", HE),
    ("the miller", HE), ("the postman", HE), ("the farmer", SHE), ("the shopkeeper", HE), ("the doctor", SHE),
    ("the sailor", HE), ("the carpenter", HE), ("the lighthouse keeper", SHE), ("the librarian", SHE), ("the cook", HE),
]

PARENTS = [("Mom", SHE), ("Dad", HE), ("Grandma", SHE), ("Grandpa", HE)]

# weather, what it looked like, what it did
WEATHERS = [
    ("sunny", "The sun was shining", "The sun warmed the stones"),
    ("windy", "A strong wind was blowing", "The wind shook the trees"),
    ("rainy", "It was raining", "Rain ran down the windows"),
    ("snowy", "Snow was falling", "Snow covered every roof"),
    ("foggy", "There was fog everywhere", "The fog hid the road"),
    ("warm", "The air was warm", "The birds sang in the trees"),
    ("cold", "The air was cold", "There was ice on the pond"),
    ("cloudy", "Gray clouds filled the sky", "The clouds hung low"),
]

COLORS = "red blue green yellow white black brown pink purple gray silver golden".split()
NUMBERS = [("two", "2"), ("three", "3"), ("four", "4"), ("five", "5"), ("six", "6"), ("seven", "7"), ("eight", "8"),
           ("nine", "9"), ("ten", "10"), ("eleven", "11"), ("twelve", "12"), ("fifteen", "15"), ("twenty", "20"),
           ("thirty", "30"), ("forty", "40")]


def article(words: str) -> str:
    return ("an " if words[0] in "aeiou" else "a ") + words


def capital(words: str) -> str:
    return words[0].upper() + words[1:]


def being(name: str, pronouns: dict, **more) -> dict:
    forms = {"name": name, "Name": capital(name), **pronouns, **more}
    return forms | {"He": capital(forms["he"]), "His": capital(forms["his"])}


def person(rng, name=None, animal=None) -> dict:
    """A hero or friend: an animal when `animal` says which, else a child."""
    pronouns = pick(rng, [HE, SHE])
    if name is None:
        name = pick(rng, ANIMAL_NAMES if animal else GIRLS if pronouns is SHE else BOYS)
    noun = animal or ("girl" if pronouns is SHE else "boy")
    trait = pick(rng, TRAITS)
    return being(name, pronouns, noun=noun, trait=trait, a=f"{article(trait)} {noun}", the=f"the {noun}")


def thing(entry, rng) -> dict:
    noun, adjectives, use, used, broke = entry
    full = f"{pick(rng, adjectives)} {noun}"
    return {"name": noun, "Name": capital(noun), "full": full, "a": article(full), "the": f"the {noun}", "the_full": f"the {full}",
            "use": use, "used": used, "broke": broke}


def place(entry, rng) -> dict:
    noun, preposition, spots, sight = entry
    first, second = pick_distinct(rng, spots, 2)
    return {"name": noun, "the": f"the {noun}", "in": f"{preposition} the {noun}", "to": f"to the {noun}",
            "spot": first, "spot2": second, "sight": sight}


def make_world(rng) -> dict:
    """Everything a story may mention: hero h, friend f, parent m, helper k, things o and u, food e, food g,
    places p and q, weather w, a color c, a number n, digits d."""
    if rng.random() < 0.4:
        kinds, names = pick_distinct(rng, ANIMALS, 2), pick_distinct(rng, ANIMAL_NAMES, 2)
        hero, friend = (person(rng, name, kind) for name, kind in zip(names, kinds))
    else:
        hero = friend = person(rng)
        while friend["name"] == hero["name"]:
            friend = person(rng)
    first, second = pick_distinct(rng, THINGS, 2)
    here, there = pick_distinct(rng, PLACES, 2)
    (food, some_food), (other_food, some_other_food) = pick_distinct(rng, FOODS, 2)
    helper, parent, weather = pick(rng, HELPERS), pick(rng, PARENTS), pick(rng, WEATHERS)
    number, digits = pick(rng, NUMBERS)
    return {
        "h": hero, "f": friend, "k": being(*helper), "m": being(*parent),
        "o": thing(first, rng), "u": thing(second, rng), "p": place(here, rng), "q": place(there, rng),
        "e": {"name": food, "Name": capital(food), "a": some_food},
        "g": {"name": other_food, "Name": capital(other_food), "a": some_other_food},
        "w": {"name": weather[0], "looks": weather[1], "does": weather[2]},
        "c": {"name": pick(rng, COLORS)}, "n": {"name": number, "Name": capital(number), "digits": digits},
        "d": {name: str(1 + int(rng.random() * limit)) for name, limit in
              (("one", 99), ("two", 99), ("three", 99), ("hour", 12))},
    }
