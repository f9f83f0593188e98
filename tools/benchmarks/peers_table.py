"""Our times beside those of other libraries."""

from benchmarks import tables
from benchmarks.runs import natural
from benchmarks.targets import format_time


def factor(ratio):
    return f"{ratio:.2g}x" if ratio < 10 else f"{ratio:.0f}x"


def lines_of(peers):
    names = [peer["name"] for peer in peers["peers"]]
    lines = []
    for case in sorted(peers["cases"], key=natural):
        times = peers["cases"][case]
        ours = times.get("wick")
        cells = [format_time(ours) if ours else ""]
        for name in names:
            time = times.get(name)
            cells.append(f"{format_time(time)} ({factor(time / ours)})" if time and ours else "")
        lines.append([case, *cells])
    return ["case", "wick", *names], lines


def remarks(peers):
    return [f"{peer['name']}: {peer['remark']}" for peer in peers["peers"] + peers["absent"] + peers["left_out"]]


def markdown(peers):
    if peers is None:
        return "No peer was measured.\n"
    header, lines = lines_of(peers)
    picture = "![Time as a multiple of Wick's](charts/peers.svg)\n\n"
    return picture + tables.markdown(header, lines) + "\n" + "".join(f"- {remark}\n" for remark in remarks(peers))


def text(peers):
    header, lines = lines_of(peers)
    return tables.aligned(header, lines) + "\n".join(remarks(peers))
