#!/usr/bin/env python3
"""Says what the tests of a build have done: how many ran, what was skipped and why, and which took longest.

  tools/test_report.py BUILD_DIR

Ends nonzero unless each case that the test programs list has a result.
"""

import collections
import pathlib
import re
import subprocess
import sys
import xml.etree.ElementTree

SLOWEST = 15


def listed(program):
    """How many cases a test program has."""
    text = subprocess.run([program, "--gtest_list_tests"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return len(re.findall(r"^  \S", text, re.M))


def main():
    build = pathlib.Path(sys.argv[1])
    cases = [case for path in sorted((build / "test-results").glob("*.xml"))
             for case in xml.etree.ElementTree.parse(path).iter("testcase") if case.get("status") == "run"]
    # GoogleTest puts the place before the reason, on a line of its own.
    reasons = collections.Counter(skipped.get("message", "").strip().rpartition("\n")[2]
                                  for case in cases for skipped in case.iter("skipped"))
    expected = sum(listed(program) for program in sorted((build / "bin").glob("*_tests")))
    print(f"{len(cases)} of {expected} test cases ran, {sum(reasons.values())} of them were skipped")
    for reason, count in reasons.items():
        print(f"  {count} skipped: {reason}")
    print("The longest:")
    for case in sorted(cases, key=lambda case: -float(case.get("time")))[:SLOWEST]:
        print(f"  {float(case.get('time')):7.2f} s  {case.get('classname')}.{case.get('name')}")
    sys.exit(0 if len(cases) == expected else 1)


if __name__ == "__main__":
    main()
