#!/usr/bin/env python3
"""Runs the benchmarks, prints tables, compares with a baseline, and writes charts and documents.

Needs Python's standard library only. `make bench` builds the programs and calls this."""

import argparse
import json
import pathlib
import sys
import time

from benchmarks import charts, compare, documents, machine, runs, tables
from benchmarks.targets import format_time, rows_of

ROOT = pathlib.Path(__file__).resolve().parent.parent


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", default=ROOT / "build/release/bin", help="directory of the *_bench programs")
    parser.add_argument("--only", default="", metavar="REGEX", help="run only cases whose name matches")
    parser.add_argument("--quick", action="store_true", help="one round of short runs: to see that everything works")
    parser.add_argument("--rounds", type=int, default=3, help="how often all programs are run (3)")
    parser.add_argument("--out", default=ROOT / "build/bench/results.json", type=pathlib.Path, help="JSON to write")
    parser.add_argument("--read", type=pathlib.Path, metavar="JSON", help="take the results of an earlier run, run nothing")
    parser.add_argument("--write-docs", action="store_true",
                        help="write charts/*.svg and the generated parts of performance.md in the directory --docs")
    parser.add_argument("--docs", type=pathlib.Path, default=ROOT / "docs",
                        help="docs; a copy of it takes the numbers of a --quick or --only run too")
    parser.add_argument("--peers", type=pathlib.Path, default=ROOT / "build/bench/peers.json", metavar="JSON",
                        help="results of tools/bench_peers.py, for the documents")
    parser.add_argument("--save-baseline", type=pathlib.Path, metavar="JSON", help="store the results for --compare")
    parser.add_argument("--compare", type=pathlib.Path, metavar="JSON", help="name what changed beyond noise since then")
    parser.add_argument("--fail-on-regression", action="store_true", help="with --compare: status 1 when a case got slower")
    return parser.parse_args()


def load(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SystemExit(f"{path} cannot be read: {error.strerror}.")
    except ValueError as error:
        raise SystemExit(f"{path} is not JSON: {error}.")


def store(path, document):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def measure(args):
    start = time.monotonic()
    rounds, repetitions, min_time = (1, 1, 0.005) if args.quick else (args.rounds, 3, 0.02)
    samples = runs.measure(args.programs, args.only, rounds, repetitions, min_time,
                           lambda text: print(text, file=sys.stderr))
    return {
        "machine": machine.describe(ROOT),
        "settings": {"quick": args.quick, "only": args.only, "rounds": rounds, "repetitions": repetitions,
                     "min_time_s": min_time},
        "seconds": round(time.monotonic() - start, 1),
        "cases": samples.summary(),
    }


def main():
    args = arguments()
    results = load(args.read) if args.read else measure(args)
    rows = rows_of(results["cases"])
    print(machine.sentence(results["machine"]))
    print(f"Measured in {results['seconds']} s.\n")
    print(tables.cases_text(results["cases"]))
    if rows:
        print(tables.targets_text(rows))
    if not args.read:
        results["targets"] = [{"title": row.title, "value": row.value, "limit": row.limit, "met": row.met} for row in rows]
        store(args.out, results)
        print(f"Written: {args.out}")
    if args.write_docs:
        partial = results["settings"]["quick"] or results["settings"]["only"]
        if partial and args.docs.resolve() == ROOT / "docs":
            raise SystemExit("The documents are written from whole runs: leave out --quick and --only.")
        peers = load(args.peers) if args.peers.exists() else None
        charts.write(args.docs / "charts", results["cases"], rows, peers)
        documents.write(args.docs / "performance.md", results, rows, peers)
        print(f"Written: {args.docs / 'charts'}, {args.docs / 'performance.md'}")
    if args.save_baseline:
        store(args.save_baseline, {key: results[key] for key in ("machine", "settings", "cases")})
    if args.compare:
        lines, slower = compare.report(load(args.compare), results, format_time)
        print("\n".join(lines))
        if slower and args.fail_on_regression:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
