#!/usr/bin/env python3
"""Runs the benchmarks of the GPU, and case by case the same in PyTorch where it is installed: Wick, PyTorch, Wick again.
Prints the times side by side and writes JSON. PyTorch is measured eager, compiled, and captured as a CUDA graph.

Needs Python's standard library only; PyTorch is for comparison, Wick does not use it."""

import argparse
import json
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

from benchmarks import machine, peers_table, runs, tables

ROOT = pathlib.Path(__file__).resolve().parent.parent
WAYS = ("eager", "compiled", "captured")  # PyTorch's
OURS = {"lazy": "wick", "compiled": "wick compiled"}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", default=ROOT / "build/release/bin", type=pathlib.Path,
                        help="directory of the program gpu_bench")
    parser.add_argument("--python", default=sys.executable, help="a Python that has PyTorch (this one)")
    parser.add_argument("--only", default="", metavar="REGEX", help="run only cases whose name matches")
    parser.add_argument("--quick", action="store_true", help="short runs: to see that everything works")
    parser.add_argument("--out", default=ROOT / "build/bench/gpu.json", type=pathlib.Path, help="JSON to write")
    return parser.parse_args()


class Torch:
    """PyTorch in a process of its own, which keeps what it has loaded from case to case."""

    def __init__(self, python):
        script = pathlib.Path(__file__).parent / "benchmarks/gpu_torch.py"
        self.errors = tempfile.TemporaryFile("w+", encoding="utf-8")
        self.process = subprocess.Popen([python, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.errors, text=True)
        self.about = self._read()

    def _read(self):
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        status = self.process.wait()
        self.errors.seek(0)
        raise ChildProcessError((self.errors.read().strip().splitlines() or [f"it ended with status {status}"])[-1])

    def measure(self, case, repetitions, seconds):
        request = {"case": case, "repetitions": repetitions, "seconds": seconds}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self._read()


def memory_text(memory):
    lines = [[case, *(f"{held[name] / 1e9:.3g} GB" if name in held else "" for name in ("wick", *WAYS))]
             for case, held in memory.items()]
    return tables.aligned(["memory held at most", "wick", *WAYS], lines)


def main():
    args = arguments()
    program = args.programs / "gpu_bench"
    every = runs.list_cases(program)
    if not every:
        raise SystemExit("There is no GPU to measure; `wick devices` says why.")
    names = [name for name in every if re.search(args.only, runs.key_of(program, name))]
    if not names:
        raise SystemExit(f"No benchmark of a GPU matches {args.only!r}.")
    repetitions, seconds = (1, 0.01) if args.quick else (3, 0.2)
    results = {"machine": machine.describe(ROOT),
               "peers": [{"name": OURS["compiled"], "remark": "the same through Compiled, recorded once"}],
               "absent": [], "left_out": [], "cases": {}, "memory": {}}
    torch = None
    try:
        torch = Torch(args.python)
        results["peers"] += [{"name": way, "remark": "PyTorch {version} on {gpu}".format(**torch.about)} for way in WAYS]
    except (OSError, ChildProcessError) as error:
        results["absent"] = [{"name": "PyTorch", "remark": f"not measured: {error}"}]
    variants = {}  # by case
    for name in names:
        variants.setdefault(runs.split_variant(runs.key_of(program, name))[0], []).append(name)
    for number, (key, ours_of_it) in enumerate(variants.items(), 1):
        print(f"{number} of {len(variants)}: {key}", file=sys.stderr)
        times, memory = results["cases"].setdefault(key, {}), {}
        ours = runs.run_program(program, ours_of_it, repetitions, seconds)
        if torch:
            try:
                theirs = torch.measure(key.removeprefix("gpu/"), repetitions, seconds)
            except (OSError, ChildProcessError) as error:
                theirs = {"times": {}, "bytes": {}, "declined": {"PyTorch": f"{error}; it was not asked again"}}
                torch = None
            times.update((way, statistics.median(found) * 1e9) for way, found in theirs["times"].items())
            memory.update(theirs["bytes"])
            results["left_out"] += [{"name": way, "remark": f"{key}: {why}"} for way, why in theirs["declined"].items()]
            ours += runs.run_program(program, ours_of_it, repetitions, seconds)
        by_variant = {}
        for measured, time, _ in ours:
            by_variant.setdefault(OURS[runs.split_variant(measured)[1]], []).append(time)
        times.update((variant, statistics.median(found)) for variant, found in by_variant.items())
        held = [counters["held_bytes"] for _, _, counters in ours if "held_bytes" in counters]
        if held:
            results["memory"][key] = {"wick": max(held), **memory}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(peers_table.text(results) + "\n")
    if results["memory"]:
        print(memory_text(results["memory"]))
    print(f"Written: {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
