#!/usr/bin/env python3
"""Each check finds what it is there for, and names the place."""

import json
import os
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import lint  # noqa: E402
import source  # noqa: E402


def tree_of(files):
    folder = tempfile.mkdtemp(dir=os.environ.get("TEST_TMPDIR"))
    for name, text in files.items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    with open(os.path.join(HERE, "rules.json"), encoding="utf-8") as rules:
        return lint.Tree(folder, json.load(rules), list(files))


def messages(check, files):
    return list(lint.CHECKS[check](tree_of(files)))


class Layering(unittest.TestCase):
    def test_include_upward_is_found_with_its_line(self):
        found = messages("layering", {"engine/task/a.h": '#pragma once\n#include "engine/log/log.h"\n'})
        self.assertEqual(len(found), 1)
        self.assertTrue(found[0].startswith("engine/task/a.h:2: expected includes in the order"), found)

    def test_include_downward_and_in_the_same_layer_pass(self):
        self.assertEqual([], messages("layering", {
            "engine/log/a.cc": '#include "engine/base/b.h"\n#include "engine/log/a.h"\n#include <vector>\n',
            "server/x.cc": '#include "proto/config.pb.h"\n#include "engine/partition/p.h"\n'}))

    def test_tools_and_protobuf_in_the_engine_are_found(self):
        self.assertEqual(2, len(messages("layering", {
            "engine/log/a.cc": '#include "tools/client/c.h"\n#include "proto/config.pb.h"\n'})))

    def test_commented_include_passes(self):
        self.assertEqual([], messages("layering", {"engine/base/a.h": '// #include "engine/log/log.h"\n'}))

    def test_unknown_engine_folder_is_found(self):
        self.assertEqual(1, len(messages("layering", {"engine/odd/a.h": "\n"})))

    def test_front_ends_do_not_know_each_other(self):
        self.assertEqual(1, len(messages("server_layering", {
            "server/kafka/a.cc": '#include "server/native/b.h"\n#include "server/kafka/c.h"\n'})))


class Contents(unittest.TestCase):
    def test_the_lab_makes_no_io_call_of_its_own(self):
        self.assertEqual([
            "perf/lab/a.cc:1: expected liburing.h only in perf/raw/, came here",
            "perf/lab/a.cc:2: expected I/O calls only in perf/raw/ and the engine, came pwrite",
        ], messages("lab_io", {
            "perf/lab/a.cc": "#include <liburing.h>\nint a = ::pwrite(1, nullptr, 0, 0);\n",
            "perf/lab/b.cc": "// pwrite(2)\nint b = file.open(1) + raw::Send(2);\n",
            "perf/raw/c.cc": "int c = pwrite(1, nullptr, 0, 0);\n",
        }))

    def test_ring_header_only_in_io(self):
        self.assertEqual(["engine/log/a.cc:1: expected liburing.h only in engine/io/, came here"],
                         messages("ring_headers", {"engine/log/a.cc": "#include <liburing.h>\n",
                                                   "engine/io/b.cc": "#include <liburing.h>\n"}))

    def test_atomic_outside_the_allow_list(self):
        found = messages("shared_state", {
            "engine/log/a.h": "// std::atomic is not used\nstd::atomic<int> x;\n",
            "engine/core/mailbox.h": "std::atomic<int> x;\n",
            "tools/cli/a.cc": "std::mutex m;\n"})
        self.assertEqual(1, len(found))
        self.assertTrue(found[0].startswith("engine/log/a.h:2: "), found)

    def test_words(self):
        word = "TO" + "DO"
        self.assertEqual([f"a.sh:2: expected no {'/'.join(tree_of({}).rules['words'])}, came {word}"],
                         messages("words", {"a.sh": f"x\n# {word} y\n"}))

    def test_top_level(self):
        self.assertEqual(1, len(messages("top_level", {"junk/a": "", "engine/base/a.h": ""})))

    def test_include_beside_the_file(self):
        self.assertEqual(['engine/base/a.cc:1: expected #include "engine/base/a.h", came "a.h"'],
                         messages("includes_from_root", {"engine/base/a.cc": '#include "a.h"\n',
                                                         "engine/base/a.h": "\n"}))

    def test_links(self):
        found = messages("links", {
            "engine/README.md": "# Life of a `Fetch`\n[a](../server/README.md) [b](nowhere.md)\n"
                                "[c](#life-of-a-fetch) [d](#gone) [e](https://example.org/x) [f](..)\n",
            "server/README.md": "x\n"})
        self.assertEqual(["engine/README.md:2", "engine/README.md:3"], [m.split(": ")[0] for m in found])

    def test_scripts(self):
        found = messages("scripts", {"tools/x": "#!/bin/bash\nif\n", "tools/y.py": "def\n"})
        self.assertEqual(3, len(found), found)


class Lengths(unittest.TestCase):
    def test_long_file(self):
        self.assertEqual(1, len(messages("file_length", {"engine/base/a.cc": "\n" * 801,
                                                         "engine/base/b.cc": "\n" * 800})))

    def test_long_function_by_one_line(self):
        def function(lines):
            return "namespace a {\nint F() {\n" + "  g();\n" * (lines - 2) + "}\n}  // namespace a\n"

        self.assertEqual([], messages("function_length", {"engine/base/a.cc": function(70)}))
        found = messages("function_length", {"engine/base/a.cc": function(71)})
        self.assertEqual(["engine/base/a.cc:2: expected at most 70 lines, came 71 in int F()"], found)

    def test_what_is_a_function(self):
        text = """
#define X(a) { a
namespace n {
class C : public B<int> {
 public:
  explicit C(int a)
      : a_(a), b_{1} {
    if (a) { g(); }
  }
  int Get() const noexcept override { return a_; }
  std::vector<int> v_ = {1, 2};
};
constexpr int kTable[] = {
  1, 2,
};
template <typename T>
auto F(T t, const char* s = "{") -> int {
  auto l = [&](int x) { return x; };
  for (int i = 0; i < 3; ++i) {
  }
  return l('}');
}
TEST_F(A, B) {
}
struct D {
  int x = f(1);
};
}
"""
        heads = [(first, last) for first, last, _ in source.functions(text)]
        self.assertEqual([(6, 9), (10, 10), (16, 22), (23, 24)], heads)


if __name__ == "__main__":
    unittest.main(verbosity=1)
