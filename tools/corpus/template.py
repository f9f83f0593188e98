"""A small template language for text generators.

`[a|b|c]` picks one alternative (an empty one is allowed, and they nest); `{name}` and `{name.form}` are looked up
in a dictionary of entities. Choices depend on nothing but the seed: only `random.Random.random()` is used, whose
sequence Python promises to keep the same from release to release.
"""

import functools
import random
import re


def pick(rng: random.Random, items):
    """One of `items`, uniformly."""
    return items[int(rng.random() * len(items))]


def pick_distinct(rng: random.Random, items, count: int):
    """`count` different elements of `items`, in random order."""
    pool = list(items)
    return [pool.pop(int(rng.random() * len(pool))) for _ in range(count)]


@functools.lru_cache(maxsize=None)
def parse(template: str):
    """A template as a sequence of parts: a string, a ("name", form) lookup, or a list of alternative sequences."""
    parts, position = _parse_sequence(template, 0, closing=False)
    if position != len(template):
        raise ValueError(f"unbalanced ']' at {position} in template: {template}")
    return parts


def _parse_sequence(template, position, closing):
    parts = []
    while position < len(template):
        char = template[position]
        if char == "[":
            alternatives = []
            while True:
                sequence, position = _parse_sequence(template, position + 1, closing=True)
                alternatives.append(sequence)
                if position >= len(template):
                    raise ValueError(f"unclosed '[' in template: {template}")
                if template[position] == "]":
                    break
            parts.append(alternatives)
            position += 1
        elif char == "{":
            end = template.index("}", position)
            name, _, form = template[position + 1 : end].partition(".")
            parts.append((name, form or "name"))
            position = end + 1
        elif closing and char in "|]":
            break
        else:
            text = re.match(r"[^\[\]{}|]+" if closing else r"[^\[{]+", template[position:]).group()
            parts.append(text)
            position += len(text)
    return tuple(parts), position


def expand(template: str, entities: dict, rng: random.Random) -> str:
    """The template with every choice made and every entity filled in."""
    out = []
    pending = list(reversed(parse(template)))
    while pending:
        part = pending.pop()
        if isinstance(part, str):
            out.append(part)
        elif isinstance(part, list):
            pending.extend(reversed(pick(rng, part)))
        else:
            name, form = part
            out.append(entities[name][form])
    return re.sub(r" {2,}", " ", "".join(out)).strip(" ")
