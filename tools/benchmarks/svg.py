"""Bar charts as SVG, readable on light and dark pages."""

from html import escape

COLOURS = ("#2f6fde", "#c8862a", "#3f9b6c", "#a05195", "#6b7785")
FONT = 'font-family="system-ui, sans-serif"'
ROW = 17  # height of a bar and its gap
LABEL_CHARACTER = 6.6


def _text(x, y, words, size=12, anchor="start", weight="normal"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" font-weight="{weight}" '
            f'fill="#222" {FONT}>{escape(words)}</text>')


def bars(title, groups, series, labels, limit=None, longest=None, width=860):
    """Horizontal bars. `groups`: [(name, [value or None, one a series])]; `labels(value)` is what stands behind a
    bar. `limit`: (value, words) of a vertical line. Bars beyond `longest` are cut, their labels are not."""
    left = 20 + LABEL_CHARACTER * max(len(name) for name, _ in groups)
    right = 110
    top = 66 if len(series) > 1 or limit else 46
    most = max([value for _, values in groups for value in values if value] + ([limit[0]] if limit else []))
    most = min(most, longest or most)
    scale = (width - left - right) / most
    parts = [_text(16, 26, title, 15, weight="bold")]
    if len(series) > 1:
        x = 16
        for colour, name in zip(COLOURS, series):
            parts.append(f'<rect x="{x}" y="38" width="12" height="12" fill="{colour}"/>')
            parts.append(_text(x + 17, 48, name))
            x += 36 + LABEL_CHARACTER * len(name)
    y = top
    for name, values in groups:
        present = [(i, value) for i, value in enumerate(values) if value]
        parts.append(_text(left - 8, y + ROW * len(present) / 2 + 2, name, anchor="end"))
        for i, value in present:
            length = max(min(value, most) * scale, 1)
            parts.append(f'<rect x="{left:.1f}" y="{y:.1f}" width="{length:.1f}" height="{ROW - 4}" fill="{COLOURS[i]}"/>')
            parts.append(_text(left + length + 5, y + ROW - 6, labels(value), 11))
            y += ROW
        y += 8
    if limit:
        x = left + limit[0] * scale
        parts.append(f'<line x1="{x:.1f}" y1="{top - 6}" x2="{x:.1f}" y2="{y}" stroke="#b00020" stroke-dasharray="4 3"/>')
        parts.append(_text(x, top - 10, limit[1], 11, "middle"))
    height = y + 8
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height:.0f}" '
            f'viewBox="0 0 {width} {height:.0f}" role="img" aria-label="{escape(title)}">\n'
            f'<rect width="{width}" height="{height:.0f}" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n")
