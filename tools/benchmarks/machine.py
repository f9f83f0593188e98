"""What the numbers were measured on."""

import os
import platform
import re
import subprocess


def _first(pattern, path, default=""):
    try:
        with open(path, encoding="utf-8") as file:
            found = re.search(pattern, file.read(), re.MULTILINE)
    except OSError:
        return default
    return found.group(1).strip() if found else default


def _output(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def describe(root):
    flags = _first(r"^flags\s*:(.*)$", "/proc/cpuinfo").split()
    sets = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    kib = int(_first(r"^MemTotal:\s*(\d+)", "/proc/meminfo", "0"))
    return {
        "processor": _first(r"^model name\s*:(.*)$", "/proc/cpuinfo") or platform.processor(),
        "family": "family {} model {}".format(_first(r"^cpu family\s*:(.*)$", "/proc/cpuinfo"),
                                              _first(r"^model\s*:(.*)$", "/proc/cpuinfo")),
        "cores": os.cpu_count(),
        "instruction_sets": " ".join(sets),
        "last_level_cache": _first(r"(.*)", "/sys/devices/system/cpu/cpu0/cache/index3/size"),
        "memory_gib": round(kib / (1 << 20), 1),
        "system": _first(r'^PRETTY_NAME="(.*)"', "/etc/os-release") or platform.system(),
        "compiler": _output("c++", "--version").splitlines()[0] if _output("c++", "--version") else "",
        "onednn": _output("dpkg-query", "-W", "-f", "${Version}", "libdnnl2"),
        "commit": _output("git", "-C", str(root), "rev-parse", "--short=12", "HEAD"),
    }


def sentence(machine):
    """One line for a document."""
    return ("{processor} ({family}), {cores} cores, {instruction_sets}, last-level cache {last_level_cache}, "
            "{memory_gib} GiB; {system}, {compiler}, oneDNN {onednn}; commit {commit}").format(**machine)


def same(a, b):
    """Whether times of the two can be compared."""
    keys = ("processor", "family", "cores", "instruction_sets")
    return all(a.get(key) == b.get(key) for key in keys)
