// raw_echo: what one small request, stored and answered, costs at the least.

#include "absl/flags/flag.h"

#include "perf/lib/os.h"
#include "perf/lib/program.h"
#include "perf/lib/report.h"
#include "perf/raw/echo.h"

ABSL_FLAG(double, rate, 5000, "requests per second of the open loop");
ABSL_FLAG(int64_t, requests, 10000, "requests measured per round");
ABSL_FLAG(bool, spin, false, "the client polls its socket instead of sleeping on it");
ABSL_FLAG(int, rounds, 5, "rounds per variant");
ABSL_FLAG(std::string, only, "", "run only variants whose name contains this");
ABSL_FLAG(std::string, json, "", "also write the figures to this file");

namespace ringtail::raw {
namespace {

void RunTable(perf::Report& report, const std::string& heading, const std::string& directory,
              const perf::LoadOptions& load) {
  std::vector<perf::Contender> contenders;
  for (const EchoLoop loop : {EchoLoop::kBlocking, EchoLoop::kEpoll, EchoLoop::kRing}) {
    for (const bool write : {false, true}) {
      const EchoOptions options = {directory, loop, write};
      if (Name(options).find(absl::GetFlag(FLAGS_only)) == std::string::npos) continue;
      contenders.push_back({Name(options), [=] { return RunEcho(options, load); }});
    }
  }
  report.Table(heading, perf::RunInterleaved(contenders, absl::GetFlag(FLAGS_rounds), 0),
               {{"p50_us", "p50 us", 1},
                {"p99_us", "p99 us", 1},
                {"p999_us", "p99.9 us", 1},
                {"cpu_us_per_request", "server CPU us", 2},
                {"requests_per_s", "requests/s", 0}});
}

int Main() {
  const perf::ScratchDir scratch(perf::ScratchParent());
  perf::Report report("Raw echo (1.2 KiB in, 64 B out), with and without a pwrite of 1 KiB");
  perf::LoadOptions load;
  load.spin = absl::GetFlag(FLAGS_spin);
  load.requests = absl::GetFlag(FLAGS_requests);
  RunTable(report, "closed loop, one outstanding", scratch.path(), load);
  load.rate_per_s = absl::GetFlag(FLAGS_rate);
  RunTable(report, "open loop, " + std::to_string(static_cast<int>(load.rate_per_s)) + "/s",
           scratch.path(), load);
  report.WriteJson(absl::GetFlag(FLAGS_json));
  return 0;
}

}  // namespace
}  // namespace ringtail::raw

int main(int argc, char** argv) {
  return ringtail::perf::RunProgram(argc, argv,
                                    "Raw echo and pwrite server: blocking, epoll and ring loops.",
                                    ringtail::raw::Main);
}
