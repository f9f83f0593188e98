"""What is asked of the engine, each as one row: the measured value, its floor, and whether the target is met.

A row's value is compared with `limit`: at most, or at least where `at_least` is set. Rows whose cases were not
run are left out."""

from dataclasses import dataclass
from typing import Optional

from benchmarks.runs import natural


@dataclass
class Row:
    title: str
    measured: str
    floor: str
    share: str  # of the floor that is reached
    target: str
    value: float
    limit: float
    at_least: bool
    only: str  # regular expression that runs what the row needs

    @property
    def met(self):
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    @property
    def verdict(self):
        if self.met:
            return "met"
        gap = self.limit / self.value if self.at_least else self.value / self.limit
        return f"missed by {gap:.2f}x"


def format_time(ns):
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if ns >= size:
            return f"{ns / size:.3g} {unit}" if ns < 1000 * size else f"{ns / size:.0f} {unit}"
    return f"{ns:.3g} ns"


def format_rate(value, unit):
    return f"{value / 1e9:.3g} G{unit}"


class Results:
    """Access to the cases of a run; None where one was not run."""

    def __init__(self, cases):
        self.cases = cases

    def time(self, key) -> Optional[float]:
        return self.cases[key]["median_ns"] if key in self.cases else None

    def counter(self, key, name) -> Optional[float]:
        return self.cases[key]["counters"].get(name) if key in self.cases else None

    def matching(self, prefix, suffix):
        return [key for key in sorted(self.cases, key=natural) if key.startswith(prefix) and key.endswith(suffix)]


def _at_most(title, ns, limit, only):
    if ns is None:
        return []
    return [Row(title, format_time(ns), "", "", f"at most {format_time(limit)}", ns, limit, False, only)]


def _engine(r):
    rows = _at_most("record a node", r.time("engine/record_node/lazy"), 100, "engine/record_node/")
    allocations = r.counter("engine/record_node/lazy", "allocations")
    if allocations is not None:
        rows.append(Row("allocations a recorded node", f"{allocations:.2f}", "", "", "at most 1", allocations, 1.005,
                        False, "engine/record_node/"))
    rows += _at_most("tiny op, recorded and evaluated", r.time("engine/tiny_op/lazy"), 1500, "engine/tiny_op")
    rows += _at_most("chain of 200 ops on 1,024 floats", r.time("engine/chain_200/lazy"), 30e3, "engine/chain_200")
    work, trip = r.time("engine/tiny_op/lazy"), r.time("engine/tiny_op/async")
    if work and trip:
        rows += _at_most("eval_async to wait, above the work", max(trip - work, 1), 10e3, "engine/tiny_op")
    rows += _at_most("first eval of a structure of 5,000 nodes", r.time("engine/plan/nodes:5000/cold"), 50e6,
                     "engine/plan")
    return rows


def _lora(r):
    rows = []
    for key in r.matching("lora/lora_linear/", "/lazy"):
        floor = r.time(key.replace("/lazy", "/floor"))
        if floor:
            time = r.time(key)
            size = key.removeprefix("lora/lora_linear/").removesuffix("/lazy").replace("/", " ")
            rows.append(Row(f"LoRA linear, {size}", format_time(time), format_time(floor), f"{floor / time:.0%}",
                            "at most 1.15x the floor", time / floor, 1.15, False, key.removesuffix("lazy")))
    return rows


def _bandwidth(r):
    rows = []
    for case, name, copy in (("ops/softmax/1024x1024", "softmax 1024x1024", "4MiB"),
                             ("ops/rms_norm/1024x1024", "RMS norm 1024x1024", "4MiB"),
                             ("ops/layer_norm/1024x1024", "layer norm 1024x1024", "4MiB"),
                             ("ops/gelu_plain/16M", "GELU in plain ops, 16 M floats", "64MiB")):
        time, floor = r.time(case + "/lazy"), r.time(f"ops/memcpy/{copy}/floor")
        if time and floor:
            rows.append(Row(name, format_time(time), f"{format_time(floor)} (memcpy {copy})", f"{floor / time:.0%}",
                            "at least 70% of memcpy", floor / time, 0.7, True, f"{case}/|ops/memcpy/{copy}"))
    return rows


def _lazy_over_eager(r):
    rows = []
    cases = [("ops/gelu_plain/16M", "GELU in plain ops, 16 M floats", 2.0),
             ("engine/chain_200", "chain of 200 ops", 2.0)]
    cases += [(key.removesuffix("/lazy"), "LoRA chain, " + key.split("/", 2)[2].removesuffix("/lazy").replace("/", " "),
               1.5) for key in r.matching("lora/lora_delta/", "/r:8/lazy")]
    for case, name, limit in cases:
        lazy, eager = r.time(case + "/lazy"), r.time(case + "/eager")
        if lazy and eager:
            rows.append(Row(f"lazy over eager: {name}", format_time(lazy), f"eager {format_time(eager)}",
                            f"{eager / lazy:.2f}x", f"at least {limit}x", eager / lazy, limit, True, case + "/"))
    return rows


def _flops(r, title, key, peak, share):
    rate, top = r.counter(key, "FLOP/s"), r.counter(f"peaks/peak_matmul/{peak}/floor", "FLOP/s")
    if not rate or not top:
        return []
    return [Row(title, f"{format_rate(rate, 'FLOP/s')} ({format_time(r.time(key))})",
                f"{format_rate(top, 'FLOP/s')} ({peak} matmul)", f"{rate / top:.0%}", f"at least {share:.0%} of matmul peak",
                rate / top, share, True, key.removesuffix("lazy") + "|peaks/")]


def _models(r):
    rows = _flops(r, "causal attention, 2048, 14 heads of 64, f32", "attention/causal/f32/2048/lazy", "f32", 0.4)
    attention = r.counter("attention/causal/f32/2048/lazy", "peak_bytes")
    if attention is not None:
        scores = 14 * 2048 * 2048 * 4
        rows.append(Row("causal attention, 2048: memory of the plan", f"{attention / 1e6:.0f} MB",
                        f"{scores / 1e6:.0f} MB of scores", "", "no buffer of scores", attention, scores, False,
                        "attention/causal/f32/2048/"))
    step = "models/lora_step/qwen2.5-0.5b_bf16/1x512/lazy"
    rows += _flops(r, "LoRA step, Qwen2.5-0.5B shape, 1x512, bf16", step, "bf16", 0.6)
    peak, weights = r.counter(step, "held_bytes"), r.counter(step, "weight_bytes")
    if peak and weights:
        limit = weights + 2e9
        rows.append(Row("LoRA step, Qwen2.5-0.5B shape: peak memory", f"{peak / 1e9:.2f} GB",
                        f"{weights / 1e9:.2f} GB of weights", "", "below weights + 2 GB", peak, limit, False,
                        "models/lora_step/qwen"))
    decode, read = "models/decode/qwen2.5-0.5b_bf16/lazy", "peaks/peak_read/512MiB/floor"
    time, weights, bandwidth = r.time(decode), r.counter(decode, "weight_bytes"), r.counter(read, "bytes/s")
    if time and bandwidth:
        floor = weights / bandwidth * 1e9
        rows.append(Row("greedy decoding, Qwen2.5-0.5B shape, bf16", f"{format_time(time)} a token",
                        f"{format_time(floor)} (weights at {format_rate(bandwidth, 'B/s')})", f"{floor / time:.0%}",
                        "at least 75% of read bandwidth", floor / time, 0.75, True, "models/decode/qwen|peaks/peak_read"))
    time = r.time("models/decode/stories260k_one_core/lazy")
    if time:
        rate = 1e9 / time
        rows.append(Row("greedy decoding, stories260k, one core", f"{rate:,.0f} tokens/s", "", "",
                        "at least 10,000 tokens/s", rate, 10000, True, "models/decode/stories"))
    return rows


def rows_of(cases):
    results = Results(cases)
    return [row for part in (_engine, _lora, _bandwidth, _lazy_over_eager, _models) for row in part(results)]
