#include "perf/lib/program.h"

#include <signal.h>
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"

#include <cstdio>
#include <exception>

namespace ringtail::perf {

int RunProgram(int argc, char** argv, const char* usage, const std::function<int()>& body) {
  absl::SetProgramUsageMessage(usage);
  absl::ParseCommandLine(argc, argv);
  signal(SIGPIPE, SIG_IGN);  // sendfile and splice have no MSG_NOSIGNAL
  try {
    return body();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", argv[0], error.what());
    return 1;
  }
}

}  // namespace ringtail::perf
