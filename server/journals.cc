#include "server/journals.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/result.h"
#include "engine/core/core.h"
#include "engine/log/after_recovery.h"
#include "engine/log/journal/journal_manifest.h"

namespace ringtail::server {
namespace {

constexpr int64_t kBytesMaxDefault = int64_t{1} << 30;
constexpr int64_t kBytesMaxLeast = int64_t{32} << 20;
constexpr int64_t kFileSystemPart = 20;  // 5 %

int64_t BytesMax(io::Backend& io, const BrokerGroup& brokers, const JournalSettings& settings) {
  if (settings.bytes_max > 0) return settings.bytes_max;
  const absl::StatusOr<io::DiskSpace> space = io.Space(brokers.data_directory);
  if (!space.ok()) return kBytesMaxDefault;
  const auto cores = static_cast<int64_t>(brokers.brokers.size());
  return std::clamp(space->total_bytes / kFileSystemPart / cores, kBytesMaxLeast, kBytesMaxDefault);
}

log::CoreJournalOptions OptionsOf(const BrokerGroup& brokers, const JournalSettings& settings,
                                  int64_t bytes_max, uint32_t core) {
  log::CoreJournalOptions options;
  options.journal.bytes_max = bytes_max;
  options.journal.file_bytes = std::min(settings.file_bytes, bytes_max / 2 / 4096 * 4096);
  options.journal.reserve_bytes =
      std::min(options.journal.reserve_bytes, options.journal.file_bytes / 8);
  options.journal.zero_chunk_bytes =
      std::min(options.journal.zero_chunk_bytes, options.journal.file_bytes / 4);
  options.journal.depth = settings.depth;
  options.journal.sync_mode = settings.sync_mode;
  return log::ContinueJournal(*brokers.recovered, core, brokers.data_directory, options);
}

std::optional<uint32_t> CoreOf(const Image& image, const log::JournalKey& key, uint32_t cores) {
  const TopicImage* topic = image.FindById(key.first);
  if (topic == nullptr || key.second >= topic->partitions.size()) return std::nullopt;
  return topic->partitions[key.second].slot % cores;
}

}  // namespace

task::Task<absl::Status> OpenJournals(BrokerGroup& brokers, JournalSettings settings,
                                      log::FileSystemSync* file_system,
                                      log::RecoveryProgress* progress) {
  io::Backend& io = core::Core::Current().io();
  const auto cores = static_cast<uint32_t>(brokers.brokers.size());
  const ImagePtr image = brokers.catalog->image();
  log::RecoveryOptions options;
  options.data_dir = brokers.data_directory;
  options.cores = cores;
  options.accept_journal_loss = settings.accept_loss;
  options.progress = progress;
  options.file_system = file_system;
  options.core_of = [&image, cores](const log::JournalKey& key) {
    return CoreOf(*image, key, cores);
  };
  options.run_on = [](uint32_t core, std::function<task::Task<void>(io::Backend & io)> work) {
    return core::CallOn(base::CoreId(core), [work = std::move(work)]() -> task::Task<void> {
      return work(core::Core::Current().io());
    });
  };
  RT_CO_ASSIGN_OR_RETURN(log::RecoveryResult recovered,
                         co_await log::RecoverJournals(io, std::move(options)));
  brokers.recovered = std::make_unique<const log::RecoveryResult>(std::move(recovered));
  const int64_t bytes_max = BytesMax(io, brokers, settings);
  for (uint32_t core = 0; core < cores; ++core) {
    Broker* broker = brokers.brokers[core];
    const log::CoreJournalOptions journal = OptionsOf(brokers, settings, bytes_max, core);
    const absl::Status opened = co_await core::CallOn(
        base::CoreId(core),
        [broker, &journal, file_system] { return broker->OpenJournal(journal, file_system); });
    if (!opened.ok()) co_return opened;
  }
  co_return absl::OkStatus();
}

task::Task<absl::Status> JournalsAreInUse(BrokerGroup& brokers) {
  for (Broker* broker : brokers.brokers) {
    const absl::Status written = co_await core::CallOn(
        broker->core().id(), [broker] { return broker->journal()->sync().WriteCheckpoint(); });
    if (!written.ok()) co_return written;
  }
  co_return absl::OkStatus();
}

task::Task<absl::Status> CloseJournals(BrokerGroup& brokers) {
  io::Backend& io = core::Core::Current().io();
  absl::Status status;
  for (Broker* broker : brokers.brokers) {
    status.Update(co_await core::CallOn(broker->core().id(),
                                        [broker] { return broker->journal()->Close(); }));
  }
  if (!status.ok()) co_return status;
  co_return co_await log::MarkManifestClean(io, brokers.data_directory);
}

}  // namespace ringtail::server
