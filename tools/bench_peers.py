#!/usr/bin/env python3
"""Runs the same cases with Wick, MLX and PyTorch on the CPU, process by process in random order, round after round, and
prints their times side by side. Libraries are taken from a virtual environment in build/peers; `--install` makes it.

Needs Python's standard library only; the libraries are for comparison, Wick does not use them."""

import argparse
import json
import pathlib
import queue
import random
import re
import statistics
import subprocess
import sys
import threading

from benchmarks import machine, peer_cases, peers_table, runs

ROOT = pathlib.Path(__file__).resolve().parent.parent
# PyPI's PyTorch for Linux on x86-64 brings CUDA libraries of several gigabytes, also for the CPU alone; a CPU build that
# is in the environment already is left there.
PEERS = {
    "mlx": {"module": "mlx.core", "package": "mlx[cpu]", "script": "peer_mlx.py"},
    "torch": {"module": "torch", "package": "torch", "script": "peer_torch.py"},
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", default=ROOT / "build/release/bin", help="directory of the *_bench programs")
    parser.add_argument("--install", action="store_true", help="make the environment, and install what can be installed")
    parser.add_argument("--environment", type=pathlib.Path, default=ROOT / "build/peers")
    parser.add_argument("--only", default="", metavar="REGEX", help="run only cases whose name matches")
    parser.add_argument("--quick", action="store_true", help="one round of short runs: to see that everything works")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=int, default=60, metavar="SECONDS", help="of a case: a peer that takes longer is "
                        "named as left out (default: %(default)s)")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build/bench/peers.json")
    return parser.parse_args()


def version_of(python, module):
    """Its version, or None where it cannot be imported."""
    package = module.split(".")[0]
    script = f"import {module}; from importlib.metadata import version; print(version('{package}'))"
    try:
        done = subprocess.run([python, "-c", script], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def install(environment, python):
    """Failing to install is no error: the peer is then named as absent."""
    if not python.exists():
        done = subprocess.run([sys.executable, "-m", "venv", environment], check=False)
        if done.returncode != 0:
            return
    for peer in PEERS.values():
        if version_of(python, peer["module"]) is None:
            subprocess.run([python, "-m", "pip", "install", "--quiet", peer["package"]], check=False)


def run_ours(programs, keys, repetitions, seconds):
    pattern = "^(" + "|".join(re.escape(key) for key in keys) + ")/lazy$"
    samples = runs.measure(programs, pattern, 1, repetitions, seconds)
    return {runs.split_variant(key)[0]: times for key, times in samples.times.items()}


def results_of(command, limit):
    """What a peer prints, case by case; ends early, and the peer with it, where a case takes longer than `limit`
    seconds."""
    lines = queue.SimpleQueue()

    def read(stdout):
        for line in stdout:
            lines.put(line)
        lines.put(None)

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        threading.Thread(target=read, args=(process.stdout,), daemon=True).start()
        try:
            while line := lines.get(timeout=limit):
                yield json.loads(line)
        except queue.Empty:
            process.kill()
            return
        if process.wait() != 0:
            raise SystemExit(f"{command[1].name} ended with status {process.returncode}: {process.stderr.read()[-2000:]}")


def run_peer(python, script, keys, repetitions, seconds, limit):
    """{case: [nanoseconds]} and {case: why it was left out}. Cases come in the order of `keys`."""
    times, declined, left = {}, {}, list(keys)
    while left:
        only = "^(" + "|".join(re.escape(key) for key in left) + ")$"
        command = [python, pathlib.Path(__file__).parent / "benchmarks" / script, str(repetitions), str(seconds), only]
        for result in results_of(command, limit):
            left.remove(result["case"])
            if "declined" in result:
                declined[result["case"]] = result["declined"]
            else:
                times[result["case"]] = [time * 1e9 for time in result["times"]]
        if left:
            declined[left.pop(0)] = f"did not end within {limit} s"
    return times, declined


def main():
    args = arguments()
    python = args.environment / "bin/python"
    if args.install:
        install(args.environment, python)
    versions = {name: version_of(python, peer["module"]) for name, peer in PEERS.items()}
    present = [name for name, version in versions.items() if version]
    rounds, repetitions, seconds = (1, 1, 0.005) if args.quick else (args.rounds, 3, 0.02)
    keys = [key for key in peer_cases.cases() if re.search(args.only, key)]
    if not keys:
        raise SystemExit(f"No case matches {args.only!r}.")
    samples, declined = {}, {}
    for number in range(1, rounds + 1):
        turns = ["wick", *present]
        random.shuffle(turns)
        print(f"round {number} of {rounds}: {', '.join(turns)}", file=sys.stderr)
        for name in turns:
            if name == "wick":
                found = run_ours(args.programs, keys, repetitions, seconds)
            else:
                asked = [key for key in keys if key not in declined.get(name, {})]
                found, left_out = run_peer(python, PEERS[name]["script"], asked, repetitions, seconds, args.limit)
                declined.setdefault(name, {}).update(left_out)
            for case, times in found.items():
                samples.setdefault(case, {}).setdefault(name, []).extend(times)
    peers = {
        "machine": machine.describe(ROOT),
        "peers": [{"name": name, "remark": f"{versions[name]}, on the CPU"} for name in present],
        "absent": [{"name": name, "remark": "not installed (tools/bench_peers.py --install)"}
                   for name in PEERS if name not in present],
        "left_out": [{"name": name, "remark": f"{case}: {reason}"}
                     for name, reasons in sorted(declined.items()) for case, reason in reasons.items()],
        "cases": {case: {name: statistics.median(times) for name, times in by_name.items()}
                  for case, by_name in samples.items()},
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(peers, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(peers_table.text(peers))
    return 0


if __name__ == "__main__":
    sys.exit(main())
