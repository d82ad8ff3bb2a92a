#!/usr/bin/env python3
"""Prints the line coverage of some files from `llvm-cov export -summary-only` on stdin.

line_coverage.py NAME FILE...: NAME heads the table; FILE is a path from the root.
"""

import json
import sys


def main(name, wanted):
    files = json.load(sys.stdin)["data"][0]["files"]
    print(f"line coverage of {name}:")
    covered = count = 0
    for path in wanted:
        found = [f for f in files if f["filename"] == path or f["filename"].endswith("/" + path)]
        for file in found:
            lines = file["summary"]["lines"]
            covered += lines["covered"]
            count += lines["count"]
            print(f"  {lines['percent']:6.1f} %  {lines['covered']:5} of {lines['count']:5}  {path}")
    if not count:
        print("  none of its files has code in this program")
        return 1
    print(f"  {100 * covered / count:6.1f} %  {covered:5} of {count:5}  together")
    return 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2:]))
