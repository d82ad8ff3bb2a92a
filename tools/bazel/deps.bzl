"""Debian's -dev packages as external repositories.

Headers are found in /usr/include, where the compiler looks anyway; a target only says what to link.
Static archives are preferred where Debian ships them: the programs then start without loading some
sixty small Abseil libraries. Bazel does not see a package upgrade under /usr: `bazel clean` after one.
"""

_LIBRARIES = [
    "absl",
    "benchmark",
    "cli11",
    "com_google_protobuf",
    "fmt",
    "fuse3",
    "gtest",
    "httplib",
    "isal",
    "liburing",
    "lz4",
    "nlohmann_json",
    "prometheus_cpp",
    "rdkafka",
    "re2",
    "snappy",
    "spdlog",
    "xxhash",
    "zlib",
    "zstd",
]

def debian_libraries():
    for name in _LIBRARIES:
        native.new_local_repository(
            name = name,
            path = "tools/bazel/deps",
            build_file = "//tools/bazel:%s.BUILD" % name,
        )
