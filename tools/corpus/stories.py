"""The base corpus: little stories, each an opening, a plot and perhaps an ending, about one made-up world."""

from .plots import ENDINGS, FRIENDS_OPENINGS, OPENINGS, PLOTS, STRANGERS
from .template import expand, pick
from .world import make_world


def make_story(rng) -> str:
    world = make_world(rng)
    name = pick(rng, sorted(PLOTS))
    opening = pick(rng, OPENINGS if name in STRANGERS else OPENINGS + FRIENDS_OPENINGS)
    sentences = [expand(part, world, rng) for part in (opening, *PLOTS[name], pick(rng, ENDINGS))]
    paragraph = " " if rng.random() < 0.5 else "\n"
    return paragraph.join(sentence[0].upper() + sentence[1:] for sentence in sentences if sentence)
