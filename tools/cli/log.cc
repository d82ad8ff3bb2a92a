// ringtail log dump
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "engine/base/result.h"
#include "tools/cli/cli.h"
#include "tools/cli/dump.h"

namespace ringtail::cli {
namespace {

struct LogOptions {
  std::vector<std::string> files;
  DumpOptions dump;
};

void Print(absl::string_view line) {
  fwrite(line.data(), 1, line.size(), stdout);
  fputc('\n', stdout);
}

absl::Status DumpFile(const std::string& path, const DumpOptions& options) {
  RT_ASSIGN_OR_RETURN(const DumpKind kind, KindOf(path));
  RT_ASSIGN_OR_RETURN(const int64_t base_offset, BaseOffsetOf(path));
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return absl::NotFoundError(absl::StrCat(path, ": ", strerror(errno)));
  const auto close_fd = absl::MakeCleanup([fd] { close(fd); });
  struct stat info;
  if (fstat(fd, &info) != 0) return absl::InternalError(absl::StrCat(path, ": ", strerror(errno)));
  const auto size = static_cast<size_t>(info.st_size);
  void* map = size == 0 ? nullptr : mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (map == MAP_FAILED) return absl::InternalError(absl::StrCat(path, ": ", strerror(errno)));
  const auto unmap = absl::MakeCleanup([map, size] {
    if (map != nullptr) munmap(map, size);
  });
  const base::ByteView file(static_cast<const uint8_t*>(map), size);
  if (!options.json) printf("%s\n", path.c_str());
  const DumpResult result = kind == DumpKind::kSegment
                                ? DumpSegment(file, options, Print)
                                : DumpIndex(file, kind, base_offset, options, Print);
  if (!options.json) {
    printf("%s %s", WithCommas(result.batches).c_str(),
           kind == DumpKind::kSegment ? "batches" : "entries");
    if (kind == DumpKind::kSegment) printf(", %s records", WithCommas(result.records).c_str());
    printf(" in %s bytes", WithCommas(result.bytes).c_str());
    if (result.zeros > 0) {
      printf(", then %s preallocated zeros", WithCommas(result.zeros).c_str());
    }
    printf("\n");
  }
  if (result.damage.empty()) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(path, ": ", result.damage));
}

absl::Status Dump(const LogOptions& options) {
  absl::Status first;
  for (const std::string& path : options.files) {
    const absl::Status status = DumpFile(path, options.dump);
    if (status.ok()) continue;
    if (options.files.size() > 1) {
      fprintf(stderr, "ringtail: %s\n", std::string(status.message()).c_str());
    }
    if (first.ok()) first = status;
  }
  return first;
}

}  // namespace

void AddLogCommands(CLI::App& app, Context& context) {
  CLI::App* log = app.add_subcommand("log", "Look into a data directory, without a broker");
  log->require_subcommand(1);
  auto options = std::make_shared<LogOptions>();
  CLI::App* dump = log->add_subcommand("dump", "Print segments and indexes, and check them");
  dump->add_option("files", options->files, ".log, .index and .timeindex files")->required();
  dump->add_flag("-r,--records", options->dump.records, "each record, not only each batch");
  dump->add_flag("--json", options->dump.json, "JSON, an object a line");
  dump->footer(
      "Examples:\n  ringtail log dump DIR/events-0/00000000000000000000.log\n"
      "  ringtail log dump --records DIR/events-0/*.log\n"
      "  ringtail log dump DIR/events-0/*.{index,timeindex}\n"
      "It ends with 1 if a file is damaged.");
  dump->callback(
      [options, &context] { context.command = [options](Context&) { return Dump(*options); }; });
  AddLogToolCommands(*log, context);
}

}  // namespace ringtail::cli
