#include "tools/offline/kafka_import.h"

#include <errno.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "engine/base/bytes.h"
#include "engine/base/endian.h"
#include "engine/base/result.h"
#include "engine/io/file.h"
#include "engine/log/data_directory.h"
#include "engine/log/log.h"
#include "engine/log/log_environment.h"
#include "engine/log/log_observer.h"
#include "engine/log/segment_name.h"
#include "engine/partition/producer_state.h"
#include "server/cluster/local_catalog.h"
#include "tools/offline/copy_file.h"

namespace ringtail::offline {
namespace {

constexpr char kStageSuffix[] = ".importing";
constexpr int64_t kSnapshotBytesMax = int64_t{256} << 20;
constexpr size_t kSnapshotEntryBytes = 46;  // FORMAT.md
constexpr size_t kOpenFilesMax = 256;       // of one partition: well within a usual limit
// What indexes and the catalog take besides the batches, at most.
constexpr int64_t kRoomPerThousand = 10;

// Where batches end, and the segment that begins later than that.
using Gaps = std::map<base::Offset, base::Offset>;

// Sees the header of every batch, and keeps the producers that the log's snapshot will have.
class ImportObserver : public log::LogObserver {
 public:
  explicit ImportObserver(const std::map<base::Offset, int64_t>& segments) : segments_(segments) {}

  std::string ProducerSnapshot(base::Offset end) override { return producers_.EncodeSnapshot(end); }
  std::optional<base::Offset> ProducerHistoryStart(base::Offset from) override {
    return producers_.HistoryStart(from);
  }
  void ReplayBatch(const log::BatchHeader& batch) override {
    producer_id_max_ = std::max(producer_id_max_, batch.producer_id());
    if (partition::NeedsTransactions(batch) && !transactional_) {
      transactional_ = batch.base_offset();
    }
    producers_.CommitTo(batch.base_offset());
    producers_.Update(batch);
    const auto segment = std::prev(segments_.upper_bound(batch.base_offset()));
    if (next_ && segment->first > *next_) gaps_[*next_] = segment->first;
    next_ = batch.next_offset();
  }

  // The snapshot knows producers whose batches retention has removed.
  absl::Status Load(base::ByteView snapshot) {
    RT_RETURN_IF_ERROR(producers_.DecodeSnapshot(snapshot));
    // Made by ProducerState its entries are in the order of their ids, which they begin with.
    const std::string ordered = producers_.EncodeSnapshot();
    if (producers_.producer_count() > 0) {
      const base::ByteView last = base::AsBytes(ordered).last(kSnapshotEntryBytes);
      producer_id_max_ = std::max(producer_id_max_, base::LoadBe<int64_t>(last.data()));
    }
    return absl::OkStatus();
  }
  const Gaps& gaps() const { return gaps_; }
  // Behind the last batch; nullopt: there is none.
  const std::optional<base::Offset>& next() const { return next_; }
  int64_t producer_id_max() const { return producer_id_max_; }
  const std::optional<base::Offset>& transactional() const { return transactional_; }

 private:
  partition::ProducerState producers_;
  int64_t producer_id_max_ = -1;
  std::optional<base::Offset> transactional_;
  const std::map<base::Offset, int64_t>& segments_;
  std::optional<base::Offset> next_;
  Gaps gaps_;
};

// Whether the log is one that can be served as it is.
absl::Status Judge(const log::TopicPartition& name, const std::string& directory,
                   const log::RecoveryInfo& info, const log::Log& log,
                   const ImportObserver& observer) {
  if (!info.cut_reason.empty()) {
    return absl::DataLossError(absl::StrCat(info.cut_reason, "; expected whole batches"));
  }
  if (info.segments_removed > 0) {
    return absl::DataLossError(absl::StrCat(
        directory, ": expected each segment to begin behind the one before; not so from offset ",
        log.log_end().value(), " on"));
  }
  if (observer.transactional()) {
    return absl::FailedPreconditionError(absl::StrCat(
        directory, ": expected no transactions, as consumers could not tell what was aborted; the ",
        "first batch of one is at offset ", observer.transactional()->value(),
        ": leave the topic out with --except ", name.topic,
        ", and copy what was committed with a client"));
  }
  if (observer.next() && *observer.next() < log.log_end()) {
    return absl::FailedPreconditionError(
        absl::StrCat(directory, ": expected batches up to the log's end, ", log.log_end().value(),
                     "; compaction has taken those from ", observer.next()->value(),
                     " on: produce a record to it with Kafka, and stop it again"));
  }
  return absl::OkStatus();
}

class Import {
 public:
  Import(BlockingBackend& io, const KafkaDirs& dirs, const ImportTarget& target)
      : io_(io), dirs_(dirs), target_(target), stage_(target.directory + kStageSuffix) {}

  absl::Status Run(const std::function<void(const ImportedPartition&)>& done);

 private:
  absl::Status RemoveStage();
  absl::StatusOr<ImportedPartition> Take(const KafkaTopic& topic, int32_t number,
                                         const KafkaPartition& partition);
  task::Task<absl::Status> Settle(const KafkaPartition& from, log::TopicPartition name,
                                  std::string directory, ImportedPartition* out);
  task::Task<absl::Status> OpenAndClose(const KafkaPartition& from, log::TopicPartition name,
                                        std::string directory, ImportedPartition* out, Gaps* gaps);
  task::Task<absl::Status> CloseGaps(std::string directory, const Gaps& gaps,
                                     KafkaPartition* partition);
  absl::Status Finish();

  BlockingBackend& io_;
  const KafkaDirs& dirs_;
  const ImportTarget& target_;
  const std::string stage_;
  log::OffsetCheckpoint ends_, starts_;
  int64_t producer_id_max_ = -1;
  int32_t epoch_max_ = 0;
};

absl::Status Import::RemoveStage() {
  std::error_code error;
  std::filesystem::remove_all(stage_, error);
  return error ? io::ErrnoStatus(error.value(), "remove", stage_) : absl::OkStatus();
}

absl::StatusOr<ImportedPartition> Import::Take(const KafkaTopic& topic, int32_t number,
                                               const KafkaPartition& partition) {
  const log::TopicPartition name{topic.name, number};
  const std::string directory = absl::StrCat(stage_, "/", name.ToString());
  RT_RETURN_IF_ERROR(RunBlocking(io_, io::MakeDirectory(io_, directory)));
  RT_RETURN_IF_ERROR(RunBlocking(
      io_, io::ReplaceFile(io_, absl::StrCat(directory, "/", log::kPartitionMetadataFile),
                           log::EncodePartitionMetadata(topic.id))));
  for (const auto& [base, bytes] : partition.segments) {
    const std::string file = log::SegmentFileName(base, log::kLogSuffix);
    RT_RETURN_IF_ERROR(CopyFile(absl::StrCat(partition.directory, "/", file),
                                absl::StrCat(directory, "/", file), bytes));
  }
  const std::string epochs = absl::StrCat("/", log::kEpochCheckpointFile);
  if (const auto info = io_.StatPath(partition.directory + epochs); info.ok()) {
    RT_RETURN_IF_ERROR(
        CopyFile(partition.directory + epochs, directory + epochs, info->size_bytes));
  }
  ImportedPartition out;
  out.name = name.ToString();
  const absl::Status settled = RunBlocking(io_, Settle(partition, name, directory, &out));
  if (settled.ok()) return out;
  return absl::Status(settled.code(),
                      absl::StrReplaceAll(settled.message(), {{directory, partition.directory}}));
}

// A start takes a segment that does not begin where the one before ends for the first after a loss,
// so that where compaction has left a gap the later segment gets a name that closes it.
task::Task<absl::Status> Import::Settle(const KafkaPartition& from, log::TopicPartition name,
                                        std::string directory, ImportedPartition* out) {
  Gaps gaps;
  RT_CO_RETURN_IF_ERROR(co_await OpenAndClose(from, name, directory, out, &gaps));
  if (gaps.empty()) co_return absl::OkStatus();
  KafkaPartition closed = from;
  RT_CO_RETURN_IF_ERROR(co_await CloseGaps(directory, gaps, &closed));
  Gaps left;
  RT_CO_RETURN_IF_ERROR(co_await OpenAndClose(closed, name, directory, out, &left));
  if (!out->note.empty()) absl::StrAppend(&out->note, "; ");
  const auto& [end, base] = *gaps.begin();
  absl::StrAppend(&out->note, gaps.size(), " gaps between segments, the first at offsets ",
                  end.value(), " to ", base.value() - 1,
                  ": compaction left them, or segments are lost");
  co_return absl::OkStatus();
}

task::Task<absl::Status> Import::CloseGaps(std::string directory, const Gaps& gaps,
                                           KafkaPartition* partition) {
  RT_CO_ASSIGN_OR_RETURN(const auto entries, io_.ListDirectory(directory));
  for (const io::DirectoryEntry& entry : entries) {
    // Made by the first opening, under the old names.
    const bool made = absl::EndsWith(entry.name, log::kIndexSuffix) ||
                      absl::EndsWith(entry.name, log::kTimeIndexSuffix) ||
                      absl::EndsWith(entry.name, log::kSnapshotSuffix);
    if (!made) continue;
    RT_CO_RETURN_IF_ERROR(co_await io::Unlink(io_, absl::StrCat(directory, "/", entry.name)));
  }
  for (const auto& [end, base] : gaps) {
    RT_CO_RETURN_IF_ERROR(co_await io::Rename(
        io_, absl::StrCat(directory, "/", log::SegmentFileName(base, log::kLogSuffix)),
        absl::StrCat(directory, "/", log::SegmentFileName(end, log::kLogSuffix))));
    auto segment = partition->segments.extract(base);
    segment.key() = end;
    partition->segments.insert(std::move(segment));
  }
  co_return absl::OkStatus();
}

// Opens the copy as after a crash, without indexes, so that every batch is checked and indexed, and
// closes it. Segments are said to be synced: what is missing between them compaction took.
task::Task<absl::Status> Import::OpenAndClose(const KafkaPartition& from, log::TopicPartition name,
                                              std::string directory, ImportedPartition* out,
                                              Gaps* gaps) {
  ImportObserver observer(from.segments);
  log::LogEnvironment env(io_, {.open_files_max = kOpenFilesMax}, nullptr);
  log::RecoveryInfo info;
  RT_CO_ASSIGN_OR_RETURN(
      const std::unique_ptr<log::Log> log,
      co_await log::Log::Open(
          env, observer, directory, {}, name,
          {.recovery_point = from.segments.rbegin()->first, .log_start = from.log_start}, &info));
  const absl::Status status = Judge(name, directory, info, *log, observer);
  const auto snapshot = co_await io::ReadWholeFile(
      io_,
      absl::StrCat(from.directory, "/", log::SegmentFileName(log->log_end(), log::kSnapshotSuffix)),
      kSnapshotBytesMax);
  out->note.clear();
  const bool known = snapshot.ok() && observer.Load(base::AsBytes(*snapshot)).ok();
  if (!known && observer.next()) {
    out->note = "producers are known as far as their batches are here";
  }
  out->log_start = log->log_start();
  out->end = log->log_end();
  out->bytes = log->size_bytes();
  out->segments = log->segment_count();
  const absl::Status closed = co_await log->Close();
  producer_id_max_ = std::max(producer_id_max_, observer.producer_id_max());
  epoch_max_ = std::max(epoch_max_, log->epochs().latest());
  ends_[{name.topic, name.partition}] = log->log_end();
  if (log->log_start().value() > 0) starts_[{name.topic, name.partition}] = log->log_start();
  *gaps = observer.gaps();
  co_return status.ok() ? closed : status;
}

// What a clean stop leaves behind, and the topics.
absl::Status Import::Finish() {
  proto::catalog::CatalogFile file = server::NewCatalogFile(target_.broker_id);
  // Leader epochs go on from here, and no producer gets an id that a batch has.
  file.set_incarnation(static_cast<uint64_t>(epoch_max_));
  file.set_next_producer_id(std::max<int64_t>(producer_id_max_, 0) + 1);
  for (const KafkaTopic& topic : dirs_.topics) {
    server::AddTopic(topic.name, topic.id, {{"retention.ms", "-1"}},
                     static_cast<uint32_t>(topic.partitions.size()), &file);
  }
  RT_RETURN_IF_ERROR(server::Image::FromProto(file).status());
  for (const auto& [name, offsets] :
       {std::pair(log::kRecoveryPointFile, &ends_), std::pair(log::kReplicationFile, &ends_),
        std::pair(log::kLogStartFile, &starts_)}) {
    RT_RETURN_IF_ERROR(RunBlocking(io_, log::WriteOffsetCheckpoint(io_, stage_, name, *offsets)));
  }
  RT_RETURN_IF_ERROR(
      RunBlocking(io_, io::ReplaceFile(io_, absl::StrCat(stage_, "/", server::kCatalogFileName),
                                       server::EncodeCatalogFile(file))));
  RT_RETURN_IF_ERROR(RunBlocking(io_, log::MarkCleanShutdown(io_, stage_)));
  RT_RETURN_IF_ERROR(RunBlocking(io_, io::SyncDirectory(io_, stage_)));
  RT_RETURN_IF_ERROR(RunBlocking(io_, io::Rename(io_, stage_, target_.directory)));
  return RunBlocking(io_, io::SyncDirectory(io_, io::ParentOf(target_.directory)));
}

absl::Status Import::Run(const std::function<void(const ImportedPartition&)>& done) {
  RT_RETURN_IF_ERROR(RemoveStage());
  RT_RETURN_IF_ERROR(RunBlocking(io_, io::MakeDirectory(io_, stage_)));
  auto remove = absl::MakeCleanup([this] { RemoveStage().IgnoreError(); });
  for (const KafkaTopic& topic : dirs_.topics) {
    for (const auto& [number, partition] : topic.partitions) {
      RT_ASSIGN_OR_RETURN(const ImportedPartition taken, Take(topic, number, partition));
      done(taken);
    }
  }
  RT_RETURN_IF_ERROR(Finish());
  std::move(remove).Cancel();
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckImportTarget(BlockingBackend& io, const KafkaDirs& dirs,
                               const ImportTarget& target) {
  const auto entries = io.ListDirectory(target.directory);
  if (entries.ok() ? !entries->empty() : !absl::IsNotFound(entries.status())) {
    return absl::FailedPreconditionError(
        absl::StrCat(target.directory, ": expected a directory that is not there yet, or empty",
                     entries.ok() ? "" : absl::StrCat("; ", entries.status().message())));
  }
  const std::string parent = io::ParentOf(target.directory);
  const absl::StatusOr<io::DiskSpace> space = io.Space(parent);
  if (!space.ok()) {
    return absl::FailedPreconditionError(
        absl::StrCat(target.directory, ": expected the directory that it is made in; ",
                     space.status().message()));
  }
  const int64_t needed = dirs.bytes() + dirs.bytes() / 1000 * kRoomPerThousand;
  struct stat here, there;
  // On one file system the copy may share its blocks with the source.
  const bool may_share =
      !dirs.topics.empty() && stat(parent.c_str(), &here) == 0 &&
      stat(dirs.topics[0].partitions.begin()->second.directory.c_str(), &there) == 0 &&
      here.st_dev == there.st_dev;
  if (!may_share && space->available_bytes < needed) {
    return absl::ResourceExhaustedError(absl::StrCat(
        parent, ": expected ", needed, " bytes of free space; there are ", space->available_bytes));
  }
  return absl::OkStatus();
}

absl::Status ImportKafka(BlockingBackend& io, const KafkaDirs& dirs, const ImportTarget& target,
                         const std::function<void(const ImportedPartition&)>& done) {
  return Import(io, dirs, target).Run(done);
}

}  // namespace ringtail::offline
