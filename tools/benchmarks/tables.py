"""Tables, as text for a terminal and as Markdown."""

from benchmarks.runs import natural, split_variant
from benchmarks.targets import format_time

MODES = ("lazy", "compiled", "eager", "async")


def modes_of(cases):
    """Those that were run."""
    variants = {split_variant(key)[1] for key in cases}
    return tuple(mode for mode in MODES if mode in variants)


def aligned(header, lines):
    widths = [max(len(line[i]) for line in [header, *lines]) for i in range(len(header))]
    rule = ["-" * width for width in widths]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
                     for line in [header, rule, *lines]) + "\n"


def markdown(header, lines):
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def by_case(cases):
    """{case: {variant: summary}}"""
    grouped = {}
    for key in sorted(cases, key=natural):
        case, variant = split_variant(key)
        grouped.setdefault(case, {})[variant] = cases[key]
    return grouped


def case_lines(cases):
    lines, names = [], modes_of(cases)
    for case, variants in by_case(cases).items():
        modes = [format_time(variants[mode]["median_ns"]) if mode in variants else "" for mode in names]
        if "cold" in variants or "warm" in variants:
            case += " (cold, warm)"
            modes = [format_time(variants[name]["median_ns"]) for name in ("cold", "warm") if name in variants]
            modes += [""] * (len(names) - len(modes))
        first = variants.get("lazy") or next(iter(variants.values()))
        floor = variants["floor"]["median_ns"] if "floor" in variants else None
        share = f"{floor / first['median_ns']:.0%}" if floor and "lazy" in variants else ""
        spread = f"{first['mad_ns'] / first['median_ns']:.1%}" if first["median_ns"] else ""
        peak = first["counters"].get("peak_bytes")
        lines.append([case, *modes, format_time(floor) if floor else "", share, spread,
                      f"{peak / 1e6:.3g} MB" if peak is not None else ""])
    return lines


TARGET_HEADER = ["what", "measured", "floor", "share", "target", "verdict"]


def case_header(cases):
    return ["case", *modes_of(cases), "floor", "floor/lazy", "spread", "peak memory"]


def cases_text(cases):
    return aligned(case_header(cases), case_lines(cases))


def target_lines(rows):
    return [[row.title, row.measured, row.floor, row.share, row.target, row.verdict] for row in rows]


def targets_text(rows):
    return aligned(TARGET_HEADER, target_lines(rows))
