"""The charts of docs/charts."""

from benchmarks import svg
from benchmarks.peers_table import factor
from benchmarks.runs import natural
from benchmarks.tables import by_case, modes_of
from benchmarks.targets import format_time


def _relative_to_eager(cases):
    """Time as a share of eager's, so that cases of nanoseconds and of seconds fit one picture."""
    groups = []
    for case, variants in by_case(cases).items():
        if case.startswith("lora/") or "eager" not in variants or "lazy" not in variants:
            continue
        eager = variants["eager"]["median_ns"]
        name = f"{case.split('/', 1)[1]} (eager {format_time(eager)})"
        groups.append((name, [variants[mode]["median_ns"] / eager if mode in variants else None
                              for mode in modes_of(cases)]))
    return groups


def _lora(cases, dtype, rank):
    groups = []
    for case, variants in by_case(cases).items():
        parts = case.split("/")
        if parts[:3] == ["lora", "lora_linear", dtype] and parts[-1] == f"r:{rank}":
            order = (*modes_of(cases), "floor")
            values = [variants[name]["median_ns"] if name in variants else None for name in order]
            groups.append((parts[3], values))
    return groups


def _peers(peers, names):
    """Times as multiples of ours."""
    groups = []
    for case in sorted(peers["cases"], key=natural):
        times = peers["cases"][case]
        values = [times[name] / times["wick"] if name in times and "wick" in times else None for name in names]
        if any(values):
            groups.append((f"{case} ({format_time(times['wick'])})", values))
    return groups


def _shares(rows):
    return [(row.title, [_percent(row.share)]) for row in rows if row.floor and row.share.endswith("%")]


def _percent(words):
    return float(words.removesuffix("%"))


def write(directory, cases, rows, peers):
    """Writes the charts for which there are results."""
    directory.mkdir(parents=True, exist_ok=True)
    pictures = {"lazy-eager-async": ("Time relative to eager mode (shorter is faster)", _relative_to_eager(cases),
                                     modes_of(cases), lambda value: f"{value:.2f}", (1, "eager"), 2.0)}
    for dtype in ("f32", "bf16"):
        pictures[f"lora-linear-{dtype}"] = (f"LoRA linear, 64 rows, rank 8, {dtype}", _lora(cases, dtype, 8),
                                            (*modes_of(cases), "floor: packed oneDNN"), format_time, None, None)
    pictures["floors"] = ("Share of the floor that is reached, in percent", _shares(rows), ("share",),
                          lambda value: f"{value:.0f}%", (100, "floor"), 150.0)
    if peers:
        names = tuple(peer["name"] for peer in peers["peers"])
        pictures["peers"] = ("Time of other libraries as a multiple of Wick's (longer: Wick is faster)",
                             _peers(peers, names), names, factor, (1, "Wick"), 6.0)
    for name, (title, groups, series, labels, limit, longest) in pictures.items():
        if groups:
            (directory / f"{name}.svg").write_text(svg.bars(title, groups, series, labels, limit, longest), encoding="utf-8")
