// raw_receive: what storing large messages costs at the least.

#include "absl/flags/flag.h"

#include "perf/lib/os.h"
#include "perf/lib/program.h"
#include "perf/lib/report.h"
#include "perf/raw/receive.h"

ABSL_FLAG(std::vector<std::string>, chunk_kib, (std::vector<std::string>{"16", "64", "128", "256"}),
          "chunk sizes in KiB");
ABSL_FLAG(int64_t, messages, 1000, "messages of 1 MB measured per round");
ABSL_FLAG(int, window, 4, "messages outstanding");
ABSL_FLAG(int, rounds, 5, "rounds per variant");
ABSL_FLAG(std::string, json, "", "also write the figures to this file");

namespace ringtail::raw {
namespace {

int Main() {
  const perf::ScratchDir scratch(perf::ScratchParent());
  perf::Report report("Raw receive of 1 MB messages and pwrite to fresh pages in " +
                      scratch.path());
  perf::LoadOptions load;
  load.window = absl::GetFlag(FLAGS_window);
  load.warmup_requests = 100;
  load.requests = absl::GetFlag(FLAGS_messages);
  std::vector<perf::Contender> contenders;
  for (const std::string& kib : absl::GetFlag(FLAGS_chunk_kib)) {
    for (const bool fill_chunk : {true, false}) {
      ReceiveOptions options;
      options.directory = scratch.path();
      options.chunk_bytes = std::stoll(kib) << 10;
      options.fill_chunk = fill_chunk;
      contenders.push_back({Name(options), [=] { return RunReceive(options, load); }});
    }
  }
  report.Table("receive and pwrite",
               perf::RunInterleaved(contenders, absl::GetFlag(FLAGS_rounds), 0),
               {{"gb_per_s", "GB/s", 2},
                {"cpu_s_per_gb", "server CPU s/GB", 3},
                {"client_cpu_s_per_gb", "client CPU s/GB", 3},
                {"p50_us", "p50 us", 0},
                {"p99_us", "p99 us", 0}});
  report.WriteJson(absl::GetFlag(FLAGS_json));
  return 0;
}

}  // namespace
}  // namespace ringtail::raw

int main(int argc, char** argv) {
  return ringtail::perf::RunProgram(argc, argv, "Raw receive-and-pwrite loops over loopback TCP.",
                                    ringtail::raw::Main);
}
