// raw_fetch: how fast a hot file can be sent over loopback TCP, method by method.

#include "absl/flags/flag.h"

#include "perf/lib/os.h"
#include "perf/lib/program.h"
#include "perf/lib/report.h"
#include "perf/raw/fetch.h"

ABSL_FLAG(std::vector<std::string>, chunk_kib,
          (std::vector<std::string>{"4", "16", "64", "256", "1024"}), "chunk sizes in KiB");
ABSL_FLAG(int64_t, file_mib, 512, "size of the file that is sent round and round");
ABSL_FLAG(double, seconds, 1.0, "measured seconds per round");
ABSL_FLAG(int, rounds, 5, "rounds per method");
ABSL_FLAG(int, window, 4, "requests kept outstanding where chunks are sent on request");
ABSL_FLAG(int64_t, buffer_kib, 256, "the client's receive buffer");
ABSL_FLAG(std::string, only, "", "run only methods whose name contains this");
ABSL_FLAG(std::string, json, "", "also write the figures to this file");

namespace ringtail::raw {
namespace {

int Main() {
  const perf::ScratchDir scratch(perf::ScratchParent());
  perf::Report report("Raw fetch of a hot file over loopback TCP; CPU is the server's");
  const std::string file = MakeHotFile(scratch.path(), absl::GetFlag(FLAGS_file_mib) << 20);
  perf::DrainOptions drain;
  drain.seconds = absl::GetFlag(FLAGS_seconds);
  drain.buffer_bytes = absl::GetFlag(FLAGS_buffer_kib) << 10;
  for (const std::string& kib : absl::GetFlag(FLAGS_chunk_kib)) {
    const int64_t chunk_bytes = std::stoll(kib) << 10;
    std::vector<perf::Contender> contenders;
    for (const FetchOptions& options : {FetchOptions{FetchMethod::kSendfile, chunk_bytes, false},
                                        FetchOptions{FetchMethod::kSendfile, chunk_bytes, true},
                                        FetchOptions{FetchMethod::kReadSend, chunk_bytes, false},
                                        FetchOptions{FetchMethod::kSplice, chunk_bytes, false},
                                        FetchOptions{FetchMethod::kMapped, chunk_bytes, false}}) {
      if (Name(options).find(absl::GetFlag(FLAGS_only)) == std::string::npos) continue;
      contenders.push_back({Name(options), [=] {
                              return RunFetch(file, options, drain, absl::GetFlag(FLAGS_window));
                            }});
    }
    report.Table("chunks of " + perf::SizeName(chunk_bytes),
                 perf::RunInterleaved(contenders, absl::GetFlag(FLAGS_rounds), 0),
                 {{"gb_per_s", "GB/s", 2},
                  {"cpu_s_per_gb", "server CPU s/GB", 3},
                  {"client_cpu_s_per_gb", "client CPU s/GB", 3}});
  }
  report.WriteJson(absl::GetFlag(FLAGS_json));
  return 0;
}

}  // namespace
}  // namespace ringtail::raw

int main(int argc, char** argv) {
  return ringtail::perf::RunProgram(
      argc, argv, "Raw fetch loops: sendfile, read and send, splice, mapped send.",
      ringtail::raw::Main);
}
