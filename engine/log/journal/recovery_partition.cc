// One partition: its chain, its segments, and what is said of it from now on.
#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/crc32c.h"
#include "engine/base/logging.h"
#include "engine/base/result.h"
#include "engine/io/file.h"
#include "engine/log/data_directory.h"
#include "engine/log/journal/mutants.h"
#include "engine/log/journal/recovery_run.h"

namespace ringtail::log {
namespace {

// The payloads of entries, read from their files, which stay open from one to the next.
class Payloads {
 public:
  Payloads(io::Backend& io, const std::vector<JournalFileFound>& files) : io_(io), files_(files) {}

  task::Task<absl::StatusOr<base::ByteView>> Read(const ScannedEntry& each) {
    const JournalFileFound& file = files_[each.file];
    if (fd_ < 0 || open_ != each.file) {
      co_await Close();
      RT_CO_ASSIGN_OR_RETURN(fd_, co_await io::OpenFile(io_, file.path, O_RDONLY));
      open_ = each.file;
    }
    bytes_.resize(each.entry.payload_bytes);
    iovec vector{bytes_.data(), bytes_.size()};
    const int64_t done = co_await io::ReadFully(io_, fd_, &vector, 1, each.payload_at);
    if (done < 0) co_return io::ErrnoStatus(static_cast<int>(-done), "read", file.path);
    if (static_cast<size_t>(done) != bytes_.size() ||
        base::Crc32c(base::ByteView(bytes_)) != each.entry.payload_crc) {
      co_return absl::DataLossError(
          absl::StrCat(file.path, " at byte ", each.payload_at, ": changed since it was checked"));
    }
    co_return base::ByteView(bytes_);
  }
  task::Task<void> Close() {
    if (fd_ >= 0) co_await io::CloseFile(io_, std::exchange(fd_, -1));
  }

 private:
  io::Backend& io_;
  const std::vector<JournalFileFound>& files_;
  int fd_ = -1;
  uint32_t open_ = 0;
  std::vector<uint8_t> bytes_;
};

CheckpointRecord RecordOf(const JournalKey& key, const RecoveredPartition& partition) {
  CheckpointRecord record;
  record.topic_id = key.first;
  record.partition = key.second;
  record.flags = partition.page_cache ? kRecordPageCache : 0;
  record.offset = partition.end.offset;
  record.segment_base = partition.end.segment_base;
  record.position = partition.end.position;
  record.log_start = partition.log_start;
  record.leader_epoch = partition.leader_epoch;
  return record;
}

void TakeRecord(const CheckpointRecord& record, RecoveredPartition* partition) {
  partition->end = {record.offset, record.segment_base, record.position};
  partition->rebuild_from = record.segment_base;
  partition->log_start = record.log_start;
  partition->leader_epoch = record.leader_epoch;
  partition->page_cache = (record.flags & kRecordPageCache) != 0;
}

// Segments of the chain that lie wholly below the log's start are gone, or about to go. False: one
// is gone that holds more.
bool ForgetTrimmed(const SegmentFiles& files, Chain* chain) {
  std::map<uint64_t, uint32_t>& lengths = chain->lengths;
  while (lengths.size() > 1 && std::next(lengths.begin())->first <= chain->log_start) {
    lengths.erase(lengths.begin());
  }
  // The one that the chain begins in was removed with what came behind what is known here.
  const LogEnd low = chain->lowest;
  if (low.position == 0 || files.sizes().contains(low.segment_base)) return true;
  const auto in_it = [&](const ScannedEntry* each) {
    return each->entry.segment_base == low.segment_base;
  };
  for (const ScannedEntry* each : chain->writes) {
    if (in_it(each) && each->entry.end_offset > chain->log_start) return false;
  }
  std::erase_if(chain->writes, in_it);
  lengths.erase(low.segment_base);
  if (chain->end.segment_base == low.segment_base) {
    chain->end = {chain->end.offset, chain->end.offset, 0};
    lengths[chain->end.segment_base] = 0;
  }
  return true;
}

}  // namespace

// Its files are left as they are behind the end, its entries are kept: somebody must decide.
void RecoveryRun::Refuse(const OldJournal* journal, JournalKey key, PartitionVerdict verdict,
                         std::string reason, uint64_t good_seq, Outcome* outcome) {
  RecoveredPartition& partition = outcome->partition;
  partition.verdict = verdict;
  partition.proven = true;
  partition.reason = std::move(reason);
  CheckpointRecord record = RecordOf(key, partition);
  record.flags |= kRecordRefused;
  record.sync_seq = good_seq;
  outcome->record = record;
  if (journal == nullptr) return;
  const auto entries = journal->entries.find(key);
  if (entries == journal->entries.end()) return;
  for (const ScannedEntry* each : entries->second) {
    if (each->seq <= good_seq) continue;
    const JournalFileFound& file = journal->scan.files[each->file];
    if (file.number != 0) outcome->held.insert({file.run, file.core, file.number, 0});
  }
}

task::Task<void> RecoveryRun::RemoveDropped(io::Backend& io, JournalKey key, Outcome* outcome) {
  outcome->gone = true;
  const auto found = directories_.find(key);
  if (found == directories_.end()) co_return;
  for (const std::string& directory : found->second) {
    const absl::Status removed =
        co_await io::RemoveDirectoryWithFiles(io, directory, kPartitionMetadataFile);
    if (!removed.ok() && !absl::IsNotFound(removed)) {
      outcome->status = removed;
      co_return;
    }
  }
}

task::Task<void> RecoveryRun::Recover(io::Backend& io, JournalKey key,
                                      std::vector<OldJournal*> journals, Outcome* outcome) {
  const auto found = directories_.find(key);
  const bool listed = !options_.core_of || options_.core_of(key).has_value();
  OldJournal* journal = journals.empty() ? nullptr : journals.front();
  RecoveredPartition& partition = outcome->partition;
  if (found != directories_.end()) partition.directory = found->second.front();
  if (options_.progress != nullptr) ++options_.progress->partitions_done;
  const auto record = journal == nullptr ? std::map<JournalKey, CheckpointRecord>::iterator()
                                         : journal->records.find(key);
  const bool recorded = journal != nullptr && record != journal->records.end();
  // For as long as somebody has to decide which is right, its record and its entries are kept.
  const auto keep = [&](std::string reason) {
    if (recorded) TakeRecord(record->second, &partition);
    Refuse(journal, key, PartitionVerdict::kRefused, std::move(reason),
           recorded ? record->second.sync_seq : 0, outcome);
    if (recorded && (record->second.flags & kRecordRefused) != 0) return;
    outcome->record->flags = (outcome->record->flags & ~kRecordRefused) | kRecordPoisoned;
  };
  if (found != directories_.end() && found->second.size() > 1) {
    keep(absl::StrCat(found->second[0], " and ", found->second[1],
                      " are of the same topic id; move away the one that is a copy"));
    co_return;
  }
  if (journals.size() > 1) {
    keep(absl::StrCat("it is in the journals of cores ", journals[0]->core, " and ",
                      journals[1]->core, ", and neither has released it"));
    co_return;
  }
  SegmentFiles files(io, partition.directory);
  if (found != directories_.end()) {
    outcome->status = files.List();
    if (!outcome->status.ok()) co_return;
  }
  if (!listed && found == directories_.end()) {
    outcome->gone = true;  // deleted, and its name is gone, too
    co_return;
  }
  if (recorded && (record->second.flags & kRecordRefused) != 0) {
    TakeRecord(record->second, &partition);
    Refuse(journal, key, PartitionVerdict::kRefused,
           "it was closed in an earlier run and has not been accepted since",
           record->second.sync_seq, outcome);
    co_return;
  }
  if (journal == nullptr) {
    // Nothing was ever journaled of it, or a journal is lost that may have had something.
    if (!AnyLost()) co_return;
    partition.proven = false;
    Refuse(nullptr, key, PartitionVerdict::kSuspect,
           "what it had may have been in a journal, or in frames of one, that are lost", 0,
           outcome);
    outcome->partition.end = {INT64_MAX, INT64_MAX, INT32_MAX};
    outcome->record.reset();
    co_return;
  }
  outcome->status = clean_ && recorded && (record->second.flags & kRecordPoisoned) == 0
                        ? co_await RecoverClean(record->second, &files, outcome)
                        : co_await RecoverChain(io, key, journal, &files, outcome);
}

// All was synced, and nothing was written since, unless somebody else did.
task::Task<absl::Status> RecoveryRun::RecoverClean(const CheckpointRecord& record,
                                                   SegmentFiles* files, Outcome* outcome) {
  const JournalKey key(record.topic_id, record.partition);
  RecoveredPartition& partition = outcome->partition;
  TakeRecord(record, &partition);
  if (partition.directory.empty() || !files->Reaches(partition.end, partition.log_start)) {
    Refuse(nullptr, key, PartitionVerdict::kRefused,
           partition.directory.empty()
               ? std::string("its directory is missing")
               : absl::StrCat(files->PathOf(partition.end.segment_base), " is shorter than the ",
                              partition.end.position, " bytes that it had when the broker stopped"),
           record.sync_seq, outcome);
    co_return absl::OkStatus();
  }
  const auto& sizes = files->sizes();
  const bool trimmed = !sizes.contains(partition.end.segment_base);
  if (trimmed) partition.end = {partition.end.offset, partition.end.offset, 0};
  // Behind it there may be a segment that was begun and got nothing.
  auto last = sizes.rbegin();
  if (last != sizes.rend() && last->second == 0 && last->first == partition.end.offset) ++last;
  const bool as_left = last == sizes.rend() || (last->first == partition.end.segment_base &&
                                                last->second == int64_t{partition.end.position});
  partition.proven = as_left;
  if (!as_left) {
    RT_LOG(kWarn, "{}: longer than the broker left it: another program has appended to it",
           partition.directory);
  }
  outcome->record = RecordOf(key, partition);
  co_return absl::OkStatus();
}

task::Task<absl::Status> RecoveryRun::RecoverChain(io::Backend& io, JournalKey key,
                                                   OldJournal* journal, SegmentFiles* files,
                                                   Outcome* outcome) {
  RecoveredPartition& partition = outcome->partition;
  const auto record = journal->records.find(key);
  std::optional<CheckpointRecord> start;
  if (record != journal->records.end()) start = record->second;
  const auto entries = journal->entries.find(key);
  RT_CO_ASSIGN_OR_RETURN(Chain chain, co_await FollowChain(start,
                                                           entries == journal->entries.end()
                                                               ? std::vector<const ScannedEntry*>()
                                                               : entries->second,
                                                           journal->scan.lost, *files));
  if (chain.dropped) {
    co_await RemoveDropped(io, key, outcome);
    co_return outcome->status;
  }
  partition.end = chain.end;
  partition.rebuild_from = std::min(chain.start.segment_base, chain.lowest.segment_base);
  partition.log_start = chain.log_start;
  partition.leader_epoch = chain.leader_epoch;
  partition.page_cache = chain.page_cache;
  partition.entries_healed = chain.healed;
  uint64_t good_seq = start.has_value() ? start->sync_seq : 0;
  if (partition.directory.empty()) {
    Refuse(journal, key, PartitionVerdict::kRefused, "its directory is missing", good_seq, outcome);
    co_return absl::OkStatus();
  }
  if (!chain.has_end) {
    partition.proven = false;
    if (chain.suspect) {
      Refuse(journal, key, PartitionVerdict::kSuspect, chain.reason, good_seq, outcome);
    }
    co_return absl::OkStatus();
  }
  if (!files->Reaches(chain.lowest, chain.log_start) || !ForgetTrimmed(*files, &chain)) {
    partition.end = {chain.start.offset, chain.start.segment_base, chain.start.position};
    Refuse(journal, key, PartitionVerdict::kRefused,
           absl::StrCat(files->PathOf(chain.lowest.segment_base), " is shorter than the ",
                        chain.lowest.position, " bytes that were synced"),
           good_seq, outcome);
    co_return absl::OkStatus();
  }
  // Above what was synced a page_cache log is scanned: what it appended is in no journal.
  partition.end = chain.page_cache && chain.ends_cut ? chain.lowest : chain.end;
  if (!chain.writes.empty()) good_seq = std::max(good_seq, chain.writes.back()->seq);
  const absl::Status applied = co_await Apply(io, *journal, chain, files, outcome);
  if (!applied.ok()) {
    // As a failed sync at run time: nothing more is written, the entries are kept for the next try.
    Refuse(journal, key, PartitionVerdict::kRefused,
           absl::StrCat("its files cannot be written: ", applied.message()),
           start.has_value() ? start->sync_seq : 0, outcome);
    outcome->record->flags =
        kRecordPoisoned | (start.has_value() ? start->flags & kRecordPageCache : 0);
    const LogEnd& from = chain.start;
    outcome->record->offset = from.offset;
    outcome->record->segment_base = from.segment_base;
    outcome->record->position = from.position;
    co_return absl::OkStatus();
  }
  if (chain.refused || chain.suspect) {
    Refuse(journal, key, chain.refused ? PartitionVerdict::kRefused : PartitionVerdict::kSuspect,
           chain.reason, good_seq, outcome);
    co_return absl::OkStatus();
  }
  partition.proven = !chain.page_cache;
  outcome->record = RecordOf(key, partition);
  co_return absl::OkStatus();
}

// Of a log whose segments the chain does not know: no more than that.
task::Task<absl::Status> RecoveryRun::CutBehind(LogEnd end, SegmentFiles* files,
                                                std::set<uint64_t>* touched) {
  const std::map<uint64_t, int64_t> sizes = files->sizes();
  for (auto each = sizes.rbegin(); each != sizes.rend(); ++each) {
    const auto [base, bytes] = *each;
    if (base > end.segment_base) RT_CO_RETURN_IF_ERROR(co_await files->Remove(base));
    if (base != end.segment_base || bytes <= int64_t{end.position}) continue;
    RT_CO_RETURN_IF_ERROR(co_await files->Cut(base, end.position));
    touched->insert(base);
  }
  co_return absl::OkStatus();
}

task::Task<absl::Status> RecoveryRun::Apply(io::Backend& io, const OldJournal& journal,
                                            const Chain& chain, SegmentFiles* files,
                                            Outcome* outcome) {
  RecoveredPartition& partition = outcome->partition;
  const std::map<uint64_t, uint32_t>& lengths = chain.lengths;
  std::set<uint64_t> touched;
  Payloads payloads(io, journal.scan.files);
  absl::Status status;
  for (const ScannedEntry* each : chain.writes) {
    const EntryHeader& entry = each->entry;
    if (!lengths.contains(entry.segment_base)) continue;  // below the log's start
    touched.insert(entry.segment_base);
    if (!each->whole) continue;  // the segment has it
    // Also where the page cache has these bytes: after a failed sync the device may not, and the
    // pages count as clean.
    const auto payload = co_await payloads.Read(*each);
    status = payload.status();
    if (status.ok()) {
      status = co_await files->Write(entry.segment_base, entry.position, *payload);
    }
    if (!status.ok()) break;
    partition.bytes_applied += entry.payload_bytes;
  }
  co_await payloads.Close();
  RT_CO_RETURN_IF_ERROR(status);
  const bool cuts = !chain.refused && !chain.suspect && !chain.page_cache && !kMutantKeepTail;
  if (chain.page_cache && chain.ends_cut) {
    RT_CO_RETURN_IF_ERROR(co_await CutBehind(chain.end, files, &touched));
  }
  const std::map<uint64_t, int64_t> sizes = files->sizes();
  bool names = !touched.empty() || (chain.page_cache && chain.ends_cut);
  for (const auto& [base, bytes] : sizes) {
    const auto length = lengths.find(base);
    const bool below = base < lengths.begin()->first;
    if (length != lengths.end() && bytes > int64_t{length->second} && cuts) {
      partition.bytes_cut += bytes - length->second;
      RT_CO_RETURN_IF_ERROR(co_await files->Cut(base, length->second));
      touched.insert(base);
    }
    const bool trimmed = below && std::next(sizes.find(base)) != sizes.end() &&
                         std::next(sizes.find(base))->first <= chain.log_start;
    if ((length == lengths.end() && !below && cuts) || trimmed) {
      if (!below) partition.bytes_cut += bytes;
      RT_CO_RETURN_IF_ERROR(co_await files->Remove(base));
      names = true;
    }
  }
  for (const uint64_t base : touched) RT_CO_RETURN_IF_ERROR(co_await files->Sync(base));
  if (names) RT_CO_RETURN_IF_ERROR(co_await files->SyncNames());
  co_return absl::OkStatus();
}

}  // namespace ringtail::log
