#!/usr/bin/env python3
"""Runs clang-tidy on the library and the command line, several files at a time.

Of a file's few seconds nearly all go into the headers that it includes, so sources with the same flags are checked as
one translation unit that includes them all. Names of unnamed namespaces may then meet: sources that declare the same
name are kept apart, as far as a look at their text can tell. When a unit has anything to complain about, its sources
are checked one by one, and what is said of those is what counts.

  tools/tidy.py BUILD_DIR
"""

import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

FILES_A_UNIT = 12
SKIPPED = re.compile(r"src/backend/cuda/")
INCLUDED = re.compile(r'^#include "(.*)"$', re.M)
# Highway includes such a source again for each instruction set.
ALONE = re.compile(r"foreach_target\.h")
UNNAMED = re.compile(r"^namespace \{$(.*?)^\}  // namespace$", re.M | re.S)
# A declaration at namespace scope stands at the start of its line.
DECLARED = re.compile(r"^(?![ #/}]|template|namespace)[\w:<>,*& ]*?\b(\w+)(?: final)?(?=\(| =|;|\{|\[| :| \{)", re.M)
TYPE = re.compile(r"^(?:class|struct|enum class) (\w+)(?! *;)", re.M)


def flags(command):
    """The arguments of a compilation without compiler, launcher, input, output and coverage."""
    words = shlex.split(command["command"])
    first = next(i for i, word in enumerate(words) if word.startswith("-"))
    kept, skip = [], False
    for word in words[first:]:
        if skip or word in ("-c", command["file"]):
            skip = False
        elif word == "-o":
            skip = True
        elif word != "-fsanitize=fuzzer-no-link":
            kept.append(word)
    return tuple(kept)


def sources_of(build, root):
    """The sources to check, relative to `root`, each with its flags; also those that CMake compiles in batches."""
    sources = {}
    for command in json.loads((build / "compile_commands.json").read_text()):
        files = [command["file"]]
        if "/Unity/" in command["file"]:
            files = INCLUDED.findall(pathlib.Path(command["file"]).read_text())
        for source in (os.path.relpath(file, root) for file in files):
            if source.startswith("src/") and not SKIPPED.match(source):
                sources[source] = flags(command)
    return sources


def units_of(sources, root):
    """Lists of sources that can be one translation unit; `sources` maps each to its flags."""
    types = {name for folder in ("include", "src") for header in (root / folder).rglob("*.h")
             for name in TYPE.findall(header.read_text())}
    open_units = []
    closed = []
    for source, its_flags in sources.items():
        text = (root / source).read_text()
        names = {name for body in UNNAMED.findall(text) for name in DECLARED.findall(body)}
        if ALONE.search(text) or names & types:
            closed.append([source])
            continue
        for unit in open_units:
            if unit["flags"] == its_flags and not unit["names"] & names:
                break
        else:
            unit = {"flags": its_flags, "names": set(), "sources": []}
            open_units.append(unit)
        unit["sources"].append(source)
        unit["names"] |= names
        if len(unit["sources"]) == FILES_A_UNIT:
            open_units.remove(unit)
            closed.append(unit["sources"])
    return closed + [unit["sources"] for unit in open_units]


def run(path, its_flags, *options):
    done = subprocess.run(["clang-tidy", "--quiet", *options, str(path), "--", *its_flags],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    return done.returncode == 0 and not done.stdout.strip(), done.stdout


def check(number, unit, its_flags, root, folder):
    """What clang-tidy says of the sources; empty where it has nothing to say."""
    if len(unit) > 1:
        path = folder / f"unit_{number}.cpp"
        path.write_text("".join(f'#include "{root / source}"  // NOLINT\n' for source in unit))
        # Shadows are for the compiler to find, which sees each source by itself.
        clean, said = run(path, (*its_flags, "-Wno-shadow"), r"--header-filter=(include/wick|src)/.*\.(h|cpp)$")
        if clean:
            return ""
        print(f"{said}One by one, for that may be of their being together: {' '.join(unit)}", flush=True)
    return "".join(text or f"clang-tidy failed on {source}\n"
                   for source in unit for clean, text in [run(root / source, its_flags)] if not clean)


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    root = pathlib.Path(__file__).resolve().parent.parent
    folder = build / "tidy"
    folder.mkdir(exist_ok=True)
    sources = sources_of(build, root)
    if not sources:
        sys.exit(f"no sources in {build}/compile_commands.json")
    units = units_of(sources, root)
    units.sort(key=lambda unit: -sum((root / source).stat().st_size for source in unit))
    print(f"clang-tidy: {len(sources)} files in {len(units)} units", flush=True)
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        said = list(pool.map(lambda job: check(job[0], job[1], sources[job[1][0]], root, folder), enumerate(units)))
    print("".join(said), end="")
    sys.exit(1 if any(said) else 0)


if __name__ == "__main__":
    main()
