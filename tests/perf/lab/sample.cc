#include "tests/perf/lab/sample.h"

#include <cstdlib>

#include "perf/lab/report_words.h"

namespace ringtail::lab {
namespace {

// Five rounds around `value`.
std::vector<double> Around(double value, double spread) {
  return {value, value * (1 + spread), value * (1 - spread), value * (1 + 2 * spread),
          value * (1 - 2 * spread)};
}

PathResult Bytes(const char* name, bool engine, Promise promise, double gb_per_s,
                 double cpu_s_per_gb, double p50_us) {
  return {name,
          engine,
          promise,
          {{"gb_per_s", Around(gb_per_s, 0.02)},
           {"cpu_s_per_gb", Around(cpu_s_per_gb, 0.01)},
           {"p50_us", Around(p50_us, 0.01)},
           {"p99_us", Around(p50_us * 3, 0.1)},
           {"p999_us", Around(p50_us * 20, 0.3)},
           {"switches_per_op", Around(0.25, 0)},
           {"syscalls_per_op", Around(engine ? 0.125 : 1, 0)}},
          ""};
}

PathResult Operations(const char* name, bool engine, double ops_per_s, double cpu_us_per_op) {
  return {name,
          engine,
          Promise::kNone,
          {{"ops_per_s", Around(ops_per_s, 0.03)},
           {"cpu_us_per_op", Around(cpu_us_per_op, 0.02)},
           {"p50_us", Around(2e6 / ops_per_s, 0.02)}},
          ""};
}

PathResult Unavailable(const char* name, Promise promise, const char* why) {
  return {name, false, promise, {}, why};
}

GroupResult Write(int64_t size, const char* text) {
  const double scale = static_cast<double>(size) / 65536;
  return {"write",
          {{"size", size, text}, {"files", 1, "1 file"}},
          {Bytes("ring", false, Promise::kPageCache, 2.2, 0.42, 31 * scale),
           Bytes("pwrite", false, Promise::kPageCache, 2.25, 0.40, 30 * scale),
           Bytes("O_DIRECT+DSYNC", false, Promise::kDurable, 0.25, 0.31, 260 * scale),
           Bytes("write+fdatasync", false, Promise::kDurable, 0.12, 0.55, 540 * scale),
           Bytes("append", true, Promise::kPageCache, 2.1, 0.44, 32 * scale),
           Bytes("journal", true, Promise::kDurable, 0.26, 0.48, 250 * scale),
           Unavailable("write+RWF_UNCACHED", Promise::kPageCache,
                       "this kernel does not know RWF_UNCACHED")}};
}

}  // namespace

LabResult Sample() {
  LabResult result;
  result.version = "1.2.3";
  result.started_ms = 1'767'268'800'000;  // 2026-01-01 12:00
  result.seconds = 214.4;
  result.quick = true;
  result.partial = true;
  result.machine = {{"kernel", "Linux 6.1.0"}, {"cpu", "A <script>alert(1)</script> & B"}};
  result.notes = {"The machine is busy (load 1.8): figures rank, but do not judge."};
  result.groups.push_back(Write(4096, "4 KiB"));
  result.groups.push_back(Write(65536, "64 KiB"));
  result.groups.push_back(
      {"send",
       {{"size", 65536, "64 KiB"}, {"connections", 8, "8"}, {"residency", 0, "hot"}},
       {Bytes("sendfile", false, Promise::kNone, 4.1, 0.22, 120),
        Bytes("read+send", false, Promise::kNone, 2.6, 0.37, 190),
        Bytes("sends", true, Promise::kNone, 4.12, 0.221, 121)}});
  result.groups.push_back(
      {"wake",
       {},
       {Operations("MSG_RING", false, 412'000, 3.1), Operations("futex", false, 390'000, 2.4),
        Operations("mailbox", true, 401'000, 3.15), Unavailable("eventfd", Promise::kNone, "")}});
  result.groups.push_back({"ring", {}, {Operations("default", false, 1'630'000, 0.61)}});
  return result;
}

PathResult& PathOf(LabResult& result, const std::string& group, const std::string& path) {
  for (GroupResult& each : result.groups) {
    if (GroupName(each) != group) continue;
    for (PathResult& candidate : each.paths) {
      if (candidate.path == path) return candidate;
    }
  }
  abort();
}

}  // namespace ringtail::lab
