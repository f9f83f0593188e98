"""Runs the benchmark programs and gathers their samples."""

import json
import pathlib
import random
import re
import statistics
import subprocess
import tempfile

NANOSECONDS = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}
VARIANTS = ("lazy", "compiled", "eager", "async", "floor", "cold", "warm")
NOT_COUNTERS = {"name", "family_index", "per_family_instance_index", "run_name", "run_type", "repetitions",
                "repetition_index", "threads", "iterations", "real_time", "cpu_time", "time_unit", "label"}
# What Google Benchmark adds to a name.
SUFFIX = re.compile(r"/(real_time|manual_time|process_time|iterations:\d+|repeats:\d+|min_time:[\d.]+)")


def programs(directory):
    found = sorted(pathlib.Path(directory).glob("*_bench"))
    if not found:
        raise SystemExit(f"There are no benchmark programs in {directory}; build them with `make bench`.")
    return found


def key_of(program, name):
    """`program/case/parameters/variant`, the same in every run."""
    name = SUFFIX.sub("", name)
    if name.rsplit("/", 1)[-1] not in VARIANTS:
        name += "/lazy"
    return program.name.removesuffix("_bench") + "/" + name


def split_variant(key):
    case, variant = key.rsplit("/", 1)
    return case, variant


def natural(key):
    """Sorts numbers within names by value."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", key)]


def list_cases(program):
    output = subprocess.run([program, "--benchmark_list_tests=true"], capture_output=True, text=True, check=True)
    return [line for line in output.stdout.splitlines() if line]


def run_program(program, names, repetitions, min_time):
    """Samples of the named benchmarks, their repetitions in random order: [(key, nanoseconds, counters)]."""
    # POSIX regular expressions know fewer escapes than re.escape gives.
    pattern = "^(" + "|".join(name.replace(".", "[.]").replace("+", "[+]") for name in names) + ")$"
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = [program, f"--benchmark_filter={pattern}", f"--benchmark_repetitions={repetitions}",
                   f"--benchmark_min_time={min_time}", "--benchmark_enable_random_interleaving=true",
                   f"--benchmark_out={file.name}", "--benchmark_out_format=json"]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{program} ended with status {done.returncode}: {done.stderr[-2000:]}")
        document = json.load(file)
    samples = []
    for entry in document["benchmarks"]:
        if entry["run_type"] != "iteration":
            continue
        if entry.get("error_occurred"):
            raise SystemExit(f"{program}: {entry['name']}: {entry['error_message']}")
        counters = {key: value for key, value in entry.items()
                    if key not in NOT_COUNTERS and isinstance(value, (int, float))}
        time = entry["real_time"] * NANOSECONDS[entry["time_unit"]]
        samples.append((key_of(program, entry["name"]), time, counters))
    return samples


def mad(values):
    """Median absolute deviation."""
    middle = statistics.median(values)
    return statistics.median(abs(value - middle) for value in values)


class Samples:
    """Times and counters by key."""

    def __init__(self):
        self.times = {}
        self.counters = {}

    def add(self, samples):
        for key, time, counters in samples:
            self.times.setdefault(key, []).append(time)
            for name, value in counters.items():
                self.counters.setdefault(key, {}).setdefault(name, []).append(value)

    def summary(self):
        cases = {}
        for key, times in sorted(self.times.items()):
            counters = {}
            for name, values in self.counters.get(key, {}).items():
                # Memory: what it took at most.
                counters[name] = max(values) if name in ("peak_bytes", "held_bytes") else statistics.median(values)
            cases[key] = {"median_ns": statistics.median(times), "mad_ns": mad(times), "samples": len(times),
                          "counters": counters}
        return cases


def measure(directory, only, rounds, repetitions, min_time, say=lambda text: None):
    """Every round runs all programs, in random order, so that slow drifts hit them alike."""
    chosen = []
    for program in programs(directory):
        names = [name for name in list_cases(program)
                 if re.search(only, key_of(program, name))]
        if names:
            chosen.append((program, names))
    if not chosen:
        raise SystemExit(f"No benchmark matches {only!r}.")
    samples = Samples()
    for number in range(1, rounds + 1):
        random.shuffle(chosen)
        for program, names in chosen:
            say(f"round {number} of {rounds}: {program.name}, {len(names)} cases")
            samples.add(run_program(program, names, repetitions, min_time))
    return samples
