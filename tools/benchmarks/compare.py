"""Finds what became slower than a stored run, beyond noise."""

from benchmarks import machine

SPREADS = 3  # a difference counts beyond so many median absolute deviations ...
SHARE = 0.05  # ... and beyond this share of the time


def changes(baseline, results):
    """[(key, before ns, after ns)] of the cases that changed beyond noise, and their number in common."""
    before, after = baseline["cases"], results["cases"]
    common = sorted(key for key in before.keys() & after.keys() if not key.endswith("/floor"))
    changed = []
    for key in common:
        old, new = before[key]["median_ns"], after[key]["median_ns"]
        spread = max(before[key]["mad_ns"], after[key]["mad_ns"])
        if abs(new - old) > max(SPREADS * spread, SHARE * old):
            changed.append((key, old, new))
    return changed, len(common)


def report(baseline, results, format_time):
    """Lines to print, and whether something became slower."""
    changed, common = changes(baseline, results)
    lines = []
    if not machine.same(baseline["machine"], results["machine"]):
        lines.append("The baseline is of another machine; the comparison says little.")
    slower = [item for item in changed if item[2] > item[1]]
    lines.append(f"{common} cases compared, {len(slower)} slower and {len(changed) - len(slower)} faster beyond noise.")
    for key, old, new in sorted(changed, key=lambda item: item[1] / item[2]):
        word = "SLOWER" if new > old else "faster"
        lines.append(f"  {word}  {key}: {format_time(old)} -> {format_time(new)} ({new / old - 1:+.0%})")
    return lines, bool(slower)
