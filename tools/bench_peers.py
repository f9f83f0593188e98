#!/usr/bin/env python3
"""Runs the same cases with Wick, MLX and PyTorch on the CPU, process by process in random order, round after round, and
prints their times side by side. Libraries are taken from a virtual environment in build/peers; `--install` makes it.

Needs Python's standard library only; the libraries are for comparison, Wick does not use them."""

import argparse
import json
import pathlib
import random
import re
import statistics
import subprocess
import sys

from benchmarks import machine, peer_cases, peers_table, runs

ROOT = pathlib.Path(__file__).resolve().parent.parent
# PyPI's PyTorch for Linux on x86-64 needs CUDA libraries of several gigabytes, even on the CPU: it is measured where
# it is in the environment already, not installed.
PEERS = {
    "mlx": {"module": "mlx.core", "package": "mlx[cpu]", "script": "peer_mlx.py"},
    "torch": {"module": "torch", "package": None, "script": "peer_torch.py"},
}
NOT_INSTALLED = {
    "mlx": "not installed (tools/bench_peers.py --install)",
    "torch": "not installed: PyPI's build for Linux brings CUDA libraries of several gigabytes; a CPU build that is put "
             "into build/peers is measured",
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", default=ROOT / "build/release/bin", help="directory of the *_bench programs")
    parser.add_argument("--install", action="store_true", help="make the environment, and install what can be installed")
    parser.add_argument("--environment", type=pathlib.Path, default=ROOT / "build/peers")
    parser.add_argument("--rounds", type=int, default=3)
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
        if peer["package"] and version_of(python, peer["module"]) is None:
            subprocess.run([python, "-m", "pip", "install", "--quiet", peer["package"]], check=False)


def run_ours(programs):
    keys = peer_cases.cases().keys()
    pattern = "^(" + "|".join(re.escape(key) for key in keys) + ")/lazy$"
    samples = runs.measure(programs, pattern, 1, 3, 0.02)
    return {runs.split_variant(key)[0]: times for key, times in samples.times.items()}


def run_peer(python, script):
    command = [python, pathlib.Path(__file__).parent / "benchmarks" / script, "3", "0.02"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{script} ended with status {done.returncode}: {done.stderr[-2000:]}")
    return {key: [time * 1e9 for time in times] for key, times in json.loads(done.stdout).items()}


def main():
    args = arguments()
    python = args.environment / "bin/python"
    if args.install:
        install(args.environment, python)
    versions = {name: version_of(python, peer["module"]) for name, peer in PEERS.items()}
    present = [name for name, version in versions.items() if version]
    samples = {}
    for number in range(1, args.rounds + 1):
        turns = ["wick", *present]
        random.shuffle(turns)
        print(f"round {number} of {args.rounds}: {', '.join(turns)}", file=sys.stderr)
        for name in turns:
            found = run_ours(args.programs) if name == "wick" else run_peer(python, PEERS[name]["script"])
            for case, times in found.items():
                samples.setdefault(case, {}).setdefault(name, []).extend(times)
    peers = {
        "machine": machine.describe(ROOT),
        "peers": [{"name": name, "remark": f"{versions[name]}, on the CPU"} for name in present],
        "absent": [{"name": name, "remark": NOT_INSTALLED[name]} for name in PEERS if name not in present],
        "cases": {case: {name: statistics.median(times) for name, times in by_name.items()}
                  for case, by_name in samples.items()},
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(peers, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(peers_table.text(peers))
    return 0


if __name__ == "__main__":
    sys.exit(main())
