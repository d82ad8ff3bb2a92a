// raw_append: how fast batches can be appended to one file in the page cache, variant by variant.

#include "absl/flags/flag.h"

#include "perf/lib/os.h"
#include "perf/lib/program.h"
#include "perf/lib/report.h"
#include "perf/raw/append.h"

ABSL_FLAG(std::vector<std::string>, batch_kib,
          (std::vector<std::string>{"4", "16", "64", "256", "1024"}), "batch sizes in KiB");
ABSL_FLAG(int64_t, total_mib, 1024,
          "MiB written per round, at most 4096; the file is removed after it");
ABSL_FLAG(int, rounds, 5, "rounds per variant");
ABSL_FLAG(std::string, only, "", "run only variants whose name contains this");
ABSL_FLAG(std::string, json, "", "also write the figures to this file");

namespace ringtail::raw {
namespace {

int Main() {
  const perf::ScratchDir scratch(perf::ScratchParent());
  perf::Report report("Raw append to the page cache, fresh pages, in " + scratch.path());
  for (const std::string& kib : absl::GetFlag(FLAGS_batch_kib)) {
    const int64_t batch_bytes = std::stoll(kib) << 10;
    const int64_t total_bytes = std::min<int64_t>(absl::GetFlag(FLAGS_total_mib), 4096) << 20;
    std::vector<perf::Contender> contenders;
    for (const AppendOptions& options : AppendVariants(scratch.path(), batch_bytes, total_bytes)) {
      if (Name(options).find(absl::GetFlag(FLAGS_only)) == std::string::npos) continue;
      contenders.push_back({Name(options), [options] { return RunAppend(options); }});
    }
    report.Table("batches of " + perf::SizeName(batch_bytes),
                 perf::RunInterleaved(contenders, absl::GetFlag(FLAGS_rounds), 1),
                 {{"gb_per_s", "GB/s", 2}, {"cpu_s_per_gb", "CPU s/GB", 3}});
  }
  report.WriteJson(absl::GetFlag(FLAGS_json));
  return 0;
}

}  // namespace
}  // namespace ringtail::raw

int main(int argc, char** argv) {
  return ringtail::perf::RunProgram(
      argc, argv, "Raw append loops: pwritev and io_uring, batch size by batch size.",
      ringtail::raw::Main);
}
