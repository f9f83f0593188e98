#!/usr/bin/env python3
"""Writes the project's own training texts from seeded grammars: the base corpus and the data of the fine-tuning example.

Needs nothing but Python 3.9 or later. The same seed writes the same bytes, everywhere.
"""

import argparse
import json
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from corpus.logbook import make_entry  # noqa: E402
from corpus.stories import make_story  # noqa: E402


def distinct(make, key, count, seed, taken):
    """`count` results of `make` whose keys are neither among themselves nor in `taken` twice; adds their keys to it.

    Result number i depends on the seed and i alone, so a longer corpus begins with the shorter one.
    """
    results = []
    index = 0
    while len(results) < count:
        item = make(random.Random(f"{seed}:{index}"))
        index += 1
        if index > 20 * count + 1000:
            raise SystemExit(f"the grammar has fewer than {count} distinct texts")
        if key(item) not in taken:
            taken.add(key(item))
            results.append(item)
    return results


def write_jsonl(path: Path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    print(f"{path}: {len(rows)} rows, {path.stat().st_size} bytes")


def write_base(args):
    # Held-out first: they stay the same however long the training corpus is.
    taken = set()
    held_out = distinct(make_story, lambda story: story, args.valid, f"{args.seed}:valid", taken)
    stories = distinct(make_story, lambda story: story, args.stories, f"{args.seed}:train", taken)
    write_jsonl(args.out / "base-train.jsonl", [{"text": story} for story in stories])
    write_jsonl(args.out / "base-valid.jsonl", [{"text": story} for story in held_out])


def write_logbook(args):
    taken = set()
    held_out = distinct(make_entry, lambda row: row["prompt"], args.valid, f"{args.seed}:logbook-valid", taken)
    rows = distinct(make_entry, lambda row: row["prompt"], args.rows, f"{args.seed}:logbook-train", taken)
    write_jsonl(args.out / "logbook-train.jsonl", rows)
    write_jsonl(args.out / "logbook-valid.jsonl", held_out)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    base = commands.add_parser("base", help="the stories that the base model learns from")
    base.add_argument("--stories", type=int, default=30000)
    base.add_argument("--valid", type=int, default=100)
    base.set_defaults(write=write_base)
    logbook = commands.add_parser("logbook", help="the fine-tuning data: stories' first sentences, answered by a ship's log")
    logbook.add_argument("--rows", type=int, default=800)
    logbook.add_argument("--valid", type=int, default=100)
    logbook.set_defaults(write=write_logbook)
    for command in (base, logbook):
        command.add_argument("--out", type=Path, required=True, help="the directory to write into")
        command.add_argument("--seed", type=int, default=2026)
    args = parser.parse_args()
    args.write(args)


if __name__ == "__main__":
    main()
