// A start without a MANIFEST: the first one, or one whose journals are gone.
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/logging.h"
#include "engine/base/result.h"
#include "engine/io/file.h"
#include "engine/log/data_directory.h"
#include "engine/log/journal/journal_checkpoint.h"
#include "engine/log/journal/journal_manifest.h"
#include "engine/log/journal/recovery_run.h"

namespace ringtail::log {
namespace {

// A directory without a MANIFEST is new, or Kafka's, unless this tells that it had journals. Empty:
// nothing does.
task::Task<absl::StatusOr<std::string>> FindSign(io::Backend& io, const RecoveryOptions& options) {
  const std::string journal = JournalDirectory(options.data_dir);
  const auto cores = io.ListDirectory(journal);
  if (!cores.ok() && !absl::IsNotFound(cores.status())) co_return cores.status();
  for (const io::DirectoryEntry& core : cores.ok() ? *cores : std::vector<io::DirectoryEntry>()) {
    uint32_t number = 0;
    if (!core.is_directory || !ParseJournalCoreDirectory(core.name, &number)) continue;
    RT_CO_ASSIGN_OR_RETURN(const auto files,
                           io.ListDirectory(absl::StrCat(journal, "/", core.name)));
    for (const io::DirectoryEntry& file : files) {
      if (!ParseJournalFileName(file.name, &number)) continue;
      co_return absl::StrCat(journal, "/", core.name, "/", file.name, " is there");
    }
  }
  // After a clean stop nothing is in journals alone.
  if (!options.core_of ||
      io.StatPath(absl::StrCat(options.data_dir, "/", kCleanShutdownFile)).ok()) {
    co_return std::string();
  }
  RT_CO_ASSIGN_OR_RETURN(const auto entries, io.ListDirectory(options.data_dir));
  for (const io::DirectoryEntry& entry : entries) {
    PartitionDirectory parsed;
    if (!entry.is_directory || !ParsePartitionDirectory(entry.name, &parsed)) continue;
    const std::string path = absl::StrCat(options.data_dir, "/", entry.name);
    const auto owner = co_await ReadPartitionMetadata(io, path);
    if (!owner.ok() ||
        !options.core_of(JournalKey{*owner, static_cast<uint32_t>(parsed.partition)})) {
      continue;
    }
    SegmentFiles segments(io, path);
    RT_CO_RETURN_IF_ERROR(segments.List());
    for (const auto& [base, bytes] : segments.sizes()) {
      if (bytes > 0)
        co_return absl::StrCat(segments.PathOf(base), ", which the catalog knows, is there");
    }
  }
  co_return std::string();
}

// What a first start that was cut off has left, or journals that were given up.
task::Task<absl::Status> RemoveLeftovers(io::Backend& io, std::string data_dir) {
  const std::string journal = JournalDirectory(data_dir);
  const auto cores = io.ListDirectory(journal);
  if (!cores.ok()) co_return absl::IsNotFound(cores.status()) ? absl::OkStatus() : cores.status();
  for (const io::DirectoryEntry& core : *cores) {
    uint32_t number = 0;
    if (!core.is_directory || !ParseJournalCoreDirectory(core.name, &number)) continue;
    const std::string directory = absl::StrCat(journal, "/", core.name);
    RT_CO_ASSIGN_OR_RETURN(const auto files, io.ListDirectory(directory));
    for (const io::DirectoryEntry& file : files) {
      RT_CO_RETURN_IF_ERROR(co_await io::Unlink(io, absl::StrCat(directory, "/", file.name)));
    }
    RT_CO_RETURN_IF_ERROR(co_await io::SyncDirectory(io, directory));
  }
  co_return absl::OkStatus();
}

task::Task<absl::StatusOr<RecoveryResult>> StartFresh(io::Backend& io, RecoveryOptions& options) {
  RecoveryResult result;
  result.dir_id = base::Uuid::Random();
  RT_CO_RETURN_IF_ERROR(co_await io::MakeDirectory(io, JournalDirectory(options.data_dir)));
  for (uint32_t core = 0; core < options.cores; ++core) {
    const std::string directory = JournalCoreDirectory(options.data_dir, core);
    RT_CO_RETURN_IF_ERROR(co_await io::MakeDirectory(io, directory));
    RT_CO_ASSIGN_OR_RETURN(const NextSlot next, co_await FindNextSlot(io, directory, {}));
    CheckpointWriter writer(io, directory, next.slot, next.number);
    RT_CO_RETURN_IF_ERROR(co_await writer.Write(FirstCheckpoint(result.run, core, result.dir_id)));
    result.cores.push_back(
        {.checkpoint_slot = 1 - next.slot, .checkpoint_number = next.number + 1});
  }
  RT_CO_RETURN_IF_ERROR(co_await io::SyncDirectory(io, JournalDirectory(options.data_dir)));
  Manifest manifest;
  manifest.run = result.run;
  manifest.cores = options.cores;
  manifest.state = ManifestState::kOpen;
  manifest.created_ms = static_cast<uint64_t>(io.WallMillis());
  manifest.dir_id = result.dir_id;
  RT_CO_RETURN_IF_ERROR(co_await WriteManifest(io, options.data_dir, manifest));
  co_return result;
}

}  // namespace

task::Task<absl::StatusOr<RecoveryResult>> StartWithoutManifest(io::Backend& io,
                                                                RecoveryOptions& options) {
  RT_CO_ASSIGN_OR_RETURN(const std::string sign, co_await FindSign(io, options));
  if (!sign.empty() && !options.accept_journal_loss) {
    co_return absl::FailedPreconditionError(absl::StrCat(
        JournalManifestPath(options.data_dir), " is missing, but ", sign,
        ": put journal/ back from a copy of the data directory; --accept_journal_loss starts ",
        "without, and closes all partitions"));
  }
  RT_CO_RETURN_IF_ERROR(co_await RemoveLeftovers(io, options.data_dir));
  if (sign.empty()) co_return co_await StartFresh(io, options);
  RT_LOG(kError, "{} is missing, but {}: the journals are given up, as asked",
         JournalManifestPath(options.data_dir), sign);
  RT_CO_RETURN_IF_ERROR(co_await io::MakeDirectory(io, JournalDirectory(options.data_dir)));
  Manifest none;
  none.created_ms = static_cast<uint64_t>(io.WallMillis());
  none.dir_id = base::Uuid::Random();
  RecoveryRun run(io, options, none);
  co_return co_await run.RunWithoutJournals();
}

}  // namespace ringtail::log
