#!/usr/bin/env python3
"""Checks the tree against tools/lint/rules.json: lint.py [--xml FILE] [CHECK...]

Every message says file:line, what was expected and what came. Each check is one test case; the last
line counts them. --xml writes the result for tools/testing/count_tests.py.
"""

import argparse
import fnmatch
import json
import os
import re
import subprocess
import sys
import xml.sax.saxutils

import source

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CPP = (".cc", ".h")
CHECKS = {}


def check(function):
    CHECKS[function.__name__] = function
    return function


class Tree:
    """The files of the project and the rules; reads each file once."""

    def __init__(self, root=ROOT, rules=None, names=None):
        self.root = root
        self.rules = rules or json.load(open(os.path.join(ROOT, "tools/lint/rules.json"), encoding="utf-8"))
        self.names = sorted(names if names is not None else self._list())
        self._texts = {}

    def _list(self):
        try:
            listed = subprocess.run(
                ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                cwd=self.root, capture_output=True, check=True).stdout.decode().split("\0")
        except (OSError, subprocess.CalledProcessError):
            listed = [os.path.relpath(os.path.join(folder, name), self.root)
                      for folder, _, files in os.walk(self.root) for name in files]
            listed = [name for name in listed if not name.startswith(("bazel-", ".git/", ".cache/"))]
        return [name for name in listed if name and os.path.isfile(os.path.join(self.root, name))]

    def text(self, name):
        if name not in self._texts:
            with open(os.path.join(self.root, name), "rb") as file:
                self._texts[name] = file.read().decode("utf-8", "replace")
        return self._texts[name]

    def cpp(self, *folders):
        return [name for name in self.names if name.endswith(CPP)
                and (not folders or name.startswith(tuple(folder + "/" for folder in folders)))]

    def is_text(self, name):
        return "\0" not in self.text(name)[:4096]


def matches(name, patterns):
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


@check
def top_level(tree):
    """Only the allowed entries at the top."""
    allowed = tree.rules["top_level"]
    for entry in sorted({name.split("/")[0] for name in tree.names}):
        if entry not in allowed:
            yield f"{entry}:1: expected one of {' '.join(allowed)} at the top level, came {entry}"


def layer_of(rules, name):
    for rank, folders in enumerate(rules["layers"]):
        if any(name.startswith(folder + "/") for folder in folders):
            return rank
    return None


@check
def layering(tree):
    """Includes of engine/ and server/ point one way."""
    rules = tree.rules
    order = " <- ".join("/".join(folders) for folders in rules["layers"])
    for name in tree.cpp("engine", "server"):
        rank = layer_of(rules, name)
        if rank is None:
            yield f"{name}:1: expected a folder of the layers ({order}), came {os.path.dirname(name)}"
            continue
        for line, included, quoted in source.includes(tree.text(name)):
            if not quoted or "/" not in included:
                continue
            other = layer_of(rules, included)
            if other is None and included.split("/")[0] in ("tools", "perf", "tests", "engine"):
                yield f"{name}:{line}: expected an include from the layers below ({order}), came {included}"
            elif other is not None and other > rank:
                yield f"{name}:{line}: expected includes in the order {order}, came {included}"
            elif name.startswith("engine/") and included.startswith("proto/"):
                yield f"{name}:{line}: expected no protobuf in engine/, came {included}"


@check
def server_layering(tree):
    """The front ends of the server do not know each other, and only its roots know them."""
    fronts = tree.rules["server_front_ends"]

    def front_of(name):
        return next((front for front in fronts if name.startswith(front + "/")), None)

    for name in tree.cpp("server"):
        if matches(name, tree.rules["server_roots"]):
            continue
        for line, included, quoted in source.includes(tree.text(name)):
            other = front_of(included) if quoted else None
            if other and other != front_of(name):
                yield (f"{name}:{line}: expected {other}/ to be included only from itself and "
                       f"{', '.join(tree.rules['server_roots'])}, came {included}")


@check
def includes_from_root(tree):
    """A quoted include is a path from the root."""
    known = set(tree.names)
    for name in tree.cpp():
        for line, included, quoted in source.includes(tree.text(name)):
            if not quoted or included in known or included.startswith("absl/"):
                continue
            if os.path.normpath(os.path.join(os.path.dirname(name), included)) in known:
                path = os.path.normpath(os.path.join(os.path.dirname(name), included))
                yield f'{name}:{line}: expected #include "{path}", came "{included}"'


@check
def ring_headers(tree):
    """Only engine/io knows io_uring."""
    for name in tree.cpp("engine", "server"):
        if name.startswith(tree.rules["ring_folder"] + "/"):
            continue
        for line, included, _ in source.includes(tree.text(name)):
            if matches(included, tree.rules["ring_headers"]):
                yield f"{name}:{line}: expected {included} only in {tree.rules['ring_folder']}/, came here"


@check
def shared_state(tree):
    """No mutex, atomic or thread outside the allow list."""
    tokens = tree.rules["shared_state_tokens"]
    pattern = re.compile(r"(?<![\w:])(" + "|".join(map(re.escape, tokens)) + r")\b")
    for name in tree.cpp(*tree.rules["shared_state_folders"]):
        if matches(name, tree.rules["shared_state_allowed"]):
            continue
        for number, line in enumerate(source.blank(tree.text(name)).split("\n"), 1):
            for match in pattern.finditer(line):
                yield (f"{name}:{number}: expected one owner core per object (shared_state_allowed of "
                       f"tools/lint/rules.json lists the exceptions), came {match.group(1)}")


@check
def lab_io(tree):
    """The lab measures the raw loops of perf/raw and the engine: it makes no I/O call of its own."""
    tokens = tree.rules["lab_io_calls"]
    pattern = re.compile(r"(?<![\w.>])(" + "|".join(map(re.escape, tokens)) + r")\(")
    for name in tree.cpp(tree.rules["lab_folder"]):
        if matches(name, tree.rules["lab_io_allowed"]):
            continue
        text = tree.text(name)
        for line, included, _ in source.includes(text):
            if matches(included, tree.rules["ring_headers"]):
                yield f"{name}:{line}: expected {included} only in perf/raw/, came here"
        for number, line in enumerate(source.blank(text).split("\n"), 1):
            for match in pattern.finditer(line):
                yield f"{name}:{number}: expected I/O calls only in perf/raw/ and the engine, came {match.group(1)}"


@check
def file_length(tree):
    """No file over file_lines_max."""
    limit = tree.rules["file_lines_max"]
    for name in tree.names:
        if matches(name, tree.rules["length_exempt"]) or not tree.is_text(name):
            continue
        lines = tree.text(name).count("\n")
        if lines > limit:
            yield f"{name}:{lines}: expected at most {limit} lines, came {lines}"


@check
def function_length(tree):
    """No function over function_lines_max, from its head to its closing brace."""
    limit = tree.rules["function_lines_max"]
    for name in tree.cpp():
        for first, last, head in source.functions(tree.text(name)):
            if last - first + 1 > limit:
                yield f"{name}:{first}: expected at most {limit} lines, came {last - first + 1} in {head[:80]}"


@check
def formatting(tree):
    """clang-format has nothing to change."""
    names = tree.cpp()
    for start in range(0, len(names), 50):
        command = ["clang-format-19", "--dry-run", "-Werror", "--ferror-limit=1"] + names[start:start + 50]
        try:
            result = subprocess.run(command, cwd=tree.root, capture_output=True, text=True)
        except OSError as error:
            yield f".clang-format:1: expected clang-format-19 to run, came {error}"
            return
        places = re.findall(r"^([^:\n]+:\d+):\d+: error: ", result.stderr, re.M)
        for place in places:
            yield f"{place}: expected what `tools/dev fmt` writes, came another layout"
        if result.returncode and not places:
            yield f".clang-format:1: expected clang-format-19 to succeed, came {result.stderr.strip()[:300]}"


def anchors(text):
    """GitHub's anchors of the headings of a Markdown text."""
    found = set()
    for heading in re.findall(r"^#+\s+(.*?)\s*$", text, re.M):
        plain = re.sub(r"[`*_]|\[|\]\([^)]*\)", "", heading).lower()
        found.add(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return found


@check
def links(tree):
    """Relative links of Markdown files lead somewhere."""
    folders = {os.path.dirname(name) for name in tree.names}
    known = set(tree.names) | folders | {up for f in folders for up in _parents(f)}
    for name in tree.names:
        if not name.endswith(".md"):
            continue
        text = re.sub(r"^```.*?^```", lambda m: re.sub(r"[^\n]", "", m.group(0)), tree.text(name), flags=re.M | re.S)
        for match in re.finditer(r"\]\(([^)\s]+)\)", text):
            target, _, anchor = match.group(1).partition("#")
            line = text.count("\n", 0, match.start()) + 1
            if re.match(r"[a-z]+:", target):
                continue
            path = os.path.normpath(os.path.join(os.path.dirname(name), target)) if target else name
            if path not in known and path != ".":
                yield f"{name}:{line}: expected a file or folder of the project, came {match.group(1)}"
            elif anchor and path.endswith(".md") and anchor not in anchors(tree.text(path)):
                yield f"{name}:{line}: expected a heading of {path}, came #{anchor}"


def _parents(folder):
    while folder:
        folder = os.path.dirname(folder)
        yield folder


@check
def words(tree):
    """Nothing is left for later."""
    pattern = re.compile(r"\b(" + "|".join(tree.rules["words"]) + r")\b")
    for name in tree.names:
        if matches(name, tree.rules["words_exempt"]) or not tree.is_text(name):
            continue
        for number, line in enumerate(tree.text(name).split("\n"), 1):
            for match in pattern.finditer(line):
                yield f"{name}:{number}: expected no {'/'.join(tree.rules['words'])}, came {match.group(1)}"


@check
def scripts(tree):
    """Shell and Python files parse, and scripts with a #! line are executable."""
    for name in tree.names:
        first = tree.text(name).split("\n", 1)[0]
        path = os.path.join(tree.root, name)
        if first.startswith("#!") and not os.access(path, os.X_OK):
            yield f"{name}:1: expected the executable bit beside #!, came mode {os.stat(path).st_mode & 0o777:o}"
        if name.endswith(".sh") or re.match(r"#!.*\b(ba)?sh$", first):
            shell = "sh" if re.match(r"#!.*[/ ]sh$", first) else "bash"
            result = subprocess.run([shell, "-n", path], capture_output=True, text=True)
            if result.returncode:
                yield f"{name}:1: expected a script that {shell} can read, came {result.stderr.strip()}"
        if name.endswith(".py") or "python3" in first:
            try:
                compile(tree.text(name), name, "exec")
            except SyntaxError as error:
                yield f"{name}:{error.lineno}: expected Python, came {error.msg}"


def write_xml(path, outcome):
    quote = xml.sax.saxutils.quoteattr
    with open(path, "w", encoding="utf-8") as file:
        file.write('<testsuites><testsuite name="lint">\n')
        for name, messages in outcome.items():
            failure = f"<failure message={quote(chr(10).join(messages))}/>" if messages else ""
            file.write(f'<testcase classname="lint" name="{name}">{failure}</testcase>\n')
        file.write("</testsuite></testsuites>\n")


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--xml", metavar="FILE")
    parser.add_argument("checks", nargs="*", metavar="CHECK", help="one of: " + " ".join(CHECKS))
    options = parser.parse_args(arguments)
    unknown = [name for name in options.checks if name not in CHECKS]
    if unknown:
        parser.error(f"no check {unknown[0]}; there are: {' '.join(CHECKS)}")
    tree = Tree()
    outcome = {name: list(CHECKS[name](tree)) for name in options.checks or CHECKS}
    for name, messages in outcome.items():
        print("\n".join([f"lint {name}: {'ok' if not messages else f'{len(messages)} found'}"] + messages))
    if options.xml:
        write_xml(options.xml, outcome)
    failed = sum(bool(messages) for messages in outcome.values())
    print(f"{len(outcome) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
