"""Ringtail's build rules: cc_library and friends with the project's flags, tests, fuzzers, protos.

C++ is built without exceptions unless a target says `exceptions = True`. Everything links statically,
tests included: one copy of each flag and each counter, and no shared objects to write.
"""

COPTS = [
    "-std=c++20",
    # Every x86-64 server since 2009; the hash and CRC code asks the CPU for more at run time.
    "-march=x86-64-v2",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wimplicit-fallthrough",
    "-Wnon-virtual-dtor",
    "-Woverloaded-virtual",
    "-Wno-missing-field-initializers",
    "-Wno-unused-parameter",
    # Bazel's toolchain turns it on; GoogleTest and Abseil macros trip over it.
    "-Wno-thread-safety",
]

_PROTO_COPTS = [
    "-std=c++20",
    "-march=x86-64-v2",
    "-w",
]

def _copts(exceptions, copts):
    return COPTS + ([] if exceptions else ["-fno-exceptions"]) + copts

def _precompiled(kind, exceptions, copts, deps):
    """(copts, deps) with a precompiled header, but for flags of a target's own, which it does not have."""
    if copts:
        return _copts(exceptions, copts), deps
    header = kind + ("_exceptions" if exceptions else "")
    return (
        _copts(exceptions, []) + select({
            "//tools/bazel:optimised": [],
            "//conditions:default": ["-include-pch", "$(BINDIR)/tools/bazel/%s.pch" % header],
        }),
        deps + select({
            "//tools/bazel:optimised": [],
            "//conditions:default": ["//tools/bazel:%s_headers" % header],
        }),
    )

def rt_library(name, exceptions = False, copts = [], deps = [], visibility = ["//visibility:public"], **kwargs):
    all_copts, all_deps = _precompiled("common", exceptions, copts, deps)
    native.cc_library(
        name = name,
        copts = all_copts,
        linkstatic = True,
        visibility = visibility,
        deps = all_deps,
        **kwargs
    )

def rt_binary(name, exceptions = False, copts = [], deps = [], precompiled = "common", visibility = ["//visibility:public"], **kwargs):
    """precompiled: "test" where the sources are tests, which .bazelrc compiles differently."""
    all_copts, all_deps = _precompiled(precompiled, exceptions, copts, deps)
    native.cc_binary(
        name = name,
        copts = all_copts,
        visibility = visibility,
        deps = all_deps,
        **kwargs
    )

def rt_test(name, exceptions = False, copts = [], deps = [], size = "small", timeout = "moderate", **kwargs):
    """A cc_test. Tag it "e2e" if it runs the real programs: such tests are not run under sanitizers."""

    # .bazelrc compiles files of this kind, and no others, as the header for tests is.
    kind = "test" if native.package_name().startswith("tests/") else "common"
    all_copts, all_deps = _precompiled(kind, exceptions, copts, deps)
    native.cc_test(
        name = name,
        copts = all_copts,
        linkstatic = True,
        size = size,
        timeout = timeout,
        deps = all_deps,
        **kwargs
    )

def rt_fuzz_test(name, srcs, deps = [], corpus = [], dict = None, max_len = 65536, data = [], exceptions = False, copts = [], tags = [], **kwargs):
    """A libFuzzer target (LLVMFuzzerTestOneInput in srcs) and a test that fuzzes for some seconds.

    Run it with `--config=asan`, which instruments every dependency for coverage. The test starts from
    the files of `corpus`; RINGTAIL_FUZZ_SECONDS (5 unless set) is its time. What it finds is among the
    test's outputs, and the log says the command that replays it. NAME_bin is libFuzzer's own program.
    """
    native.cc_binary(
        name = name + "_bin",
        srcs = srcs,
        deps = deps,
        copts = _copts(exceptions, copts) + ["-fsanitize=fuzzer"],
        linkopts = ["-fsanitize=fuzzer"],
        testonly = True,
        tags = ["fuzz"],
        visibility = ["//visibility:public"],
        **kwargs
    )
    native.sh_test(
        name = name,
        srcs = ["//tools/bazel:fuzz.sh"],
        args = [
            "$(rootpath :%s_bin)" % name,
            str(max_len),
            "$(rootpath %s)" % dict if dict else "-",
        ] + ["$(rootpaths %s)" % c for c in corpus],
        data = [":%s_bin" % name] + corpus + ([dict] if dict else []) + data,
        size = "small",
        timeout = "eternal",
        tags = ["fuzz"] + tags,
    )

def rt_proto_library(name, srcs, deps = [], visibility = ["//visibility:public"]):
    """The C++ library of some .proto files, which import each other by path from the root.

    deps are other rt_proto_library targets whose files are imported.
    """
    package = native.package_name()
    outs = []
    for src in srcs:
        base = src[:-len(".proto")]
        outs += [base + ".pb.h", base + ".pb.cc"]
    native.filegroup(
        name = name + "_srcs",
        srcs = srcs + [d + "_srcs" for d in deps],
        visibility = visibility,
    )
    native.genrule(
        name = name + "_cc",
        srcs = [":" + name + "_srcs"],
        outs = outs,
        cmd = "/usr/bin/protoc --proto_path=. --cpp_out=$(GENDIR) " +
              " ".join(["%s/%s" % (package, s) if package else s for s in srcs]),
    )
    native.cc_library(
        name = name,
        srcs = [o for o in outs if o.endswith(".cc")],
        hdrs = [o for o in outs if o.endswith(".h")],
        copts = _PROTO_COPTS,
        linkstatic = True,
        visibility = visibility,
        deps = deps + ["@com_google_protobuf//:protobuf"],
    )
