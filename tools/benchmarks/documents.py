"""Writes the generated parts of docs/performance.md: what stands between `<!-- NAME: generated -->` and
`<!-- NAME: end -->`."""

import re

from benchmarks import machine, peers_table, tables


def replace_section(text, name, content, path):
    pattern = re.compile(f"(<!-- {name}: generated -->\n).*?(<!-- {name}: end -->)", re.DOTALL)
    if not pattern.search(text):
        raise SystemExit(f"{path} has no section between `<!-- {name}: generated -->` and `<!-- {name}: end -->`.")
    return pattern.sub(lambda found: found.group(1) + content + found.group(2), text)


def target_table(rows):
    lines = [[*line, f"`tools/bench.py --only '{row.only}'`".replace("|", "\\|")]
             for line, row in zip(tables.target_lines(rows), rows)]
    return tables.markdown([*tables.TARGET_HEADER, "command"], lines)


def write(path, results, rows, peers):
    text = path.read_text(encoding="utf-8")
    settings = results["settings"]
    described = (f"{machine.sentence(results['machine'])}. {settings['rounds']} rounds of "
                 f"{settings['repetitions']} repetitions.\n")
    text = replace_section(text, "machine", described, path)
    text = replace_section(text, "targets", target_table(rows), path)
    cases = results["cases"]
    text = replace_section(text, "cases", tables.markdown(tables.case_header(cases), tables.case_lines(cases)), path)
    text = replace_section(text, "peers", peers_table.markdown(peers), path)
    path.write_text(text, encoding="utf-8")
