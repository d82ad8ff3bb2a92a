// raw_read: how fast a hot file comes out of the page cache by pread.

#include "absl/flags/flag.h"

#include "perf/lib/os.h"
#include "perf/lib/program.h"
#include "perf/lib/report.h"
#include "perf/raw/fetch.h"
#include "perf/raw/read.h"

ABSL_FLAG(std::vector<std::string>, chunk_kib,
          (std::vector<std::string>{"4", "16", "64", "256", "1024"}), "chunk sizes in KiB");
ABSL_FLAG(int64_t, file_mib, 1024, "size of the file, at most 4096");
ABSL_FLAG(int, rounds, 5, "rounds per chunk size");
ABSL_FLAG(std::string, json, "", "also write the figures to this file");

namespace ringtail::raw {
namespace {

int Main() {
  const perf::ScratchDir scratch(perf::ScratchParent());
  const int64_t file_bytes = std::min<int64_t>(absl::GetFlag(FLAGS_file_mib), 4096) << 20;
  const std::string file = MakeHotFile(scratch.path(), file_bytes);
  perf::Report report("Raw read of a hot file by pread");
  std::vector<perf::Contender> contenders;
  for (const std::string& kib : absl::GetFlag(FLAGS_chunk_kib)) {
    const int64_t chunk_bytes = std::stoll(kib) << 10;
    contenders.push_back({perf::SizeName(chunk_bytes), [=] { return RunRead(file, chunk_bytes); }});
  }
  report.Table("pread", perf::RunInterleaved(contenders, absl::GetFlag(FLAGS_rounds), 1),
               {{"gb_per_s", "GB/s", 2}, {"cpu_s_per_gb", "CPU s/GB", 3}});
  report.WriteJson(absl::GetFlag(FLAGS_json));
  return 0;
}

}  // namespace
}  // namespace ringtail::raw

int main(int argc, char** argv) {
  return ringtail::perf::RunProgram(argc, argv, "Raw read of a hot file by pread.",
                                    ringtail::raw::Main);
}
