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

  // Into `bytes`, which are as many.
  task::Task<absl::Status> Read(const ScannedEntry& each, base::MutableByteView bytes) {
    const JournalFileFound& file = files_[each.file];
    if (fd_ < 0 || open_ != each.file) {
      co_await Close();
      RT_CO_ASSIGN_OR_RETURN(fd_, co_await io::OpenFile(io_, file.path, O_RDONLY));
      open_ = each.file;
    }
    iovec vector{bytes.data(), bytes.size()};
    const int64_t done = co_await io::ReadFully(io_, fd_, &vector, 1, each.payload_at);
    if (done < 0) co_return io::ErrnoStatus(static_cast<int>(-done), "read", file.path);
    if (static_cast<size_t>(done) != bytes.size() ||
        base::Crc32c(bytes) != each.entry.payload_crc) {
      co_return absl::DataLossError(
          absl::StrCat(file.path, " at byte ", each.payload_at, ": changed since it was checked"));
    }
    co_return absl::OkStatus();
  }
  task::Task<void> Close() {
    if (fd_ >= 0) co_await io::CloseFile(io_, std::exchange(fd_, -1));
  }

 private:
  io::Backend& io_;
  const std::vector<JournalFileFound>& files_;
  int fd_ = -1;
  uint32_t open_ = 0;
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

// A log that ends where a segment begins has no file for that one perhaps: it was cut there before
// the name was synced. The end of the segment before is the same place.
LogEnd EndInFiles(LogEnd end, const SegmentFiles& files) {
  const std::map<uint64_t, int64_t>& sizes = files.sizes();
  const auto behind = sizes.lower_bound(end.segment_base);
  const bool there = behind != sizes.end() && behind->first == end.segment_base;
  if (end.position > 0 || there || behind == sizes.begin()) return end;
  const auto [base, bytes] = *std::prev(behind);
  return {end.offset, base, static_cast<uint32_t>(bytes)};
}

constexpr LogEnd kUnknownEnd = {kRecordEndUnknown, kRecordEndUnknown, INT32_MAX};

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

// Where frames are lost, segments that are gone without a word were below a TRIM.
void NoteLostTrim(const SegmentFiles& files, Chain* chain) {
  if (!chain->lossy || files.sizes().empty()) return;
  const uint64_t first = files.sizes().begin()->first;
  const bool has_below =
      std::any_of(chain->writes.begin(), chain->writes.end(),
                  [first](const ScannedEntry* each) { return each->entry.segment_base < first; });
  if (!has_below && first <= chain->end.offset)
    chain->log_start = std::max(chain->log_start, first);
}

}  // namespace

// Its files are left as they are behind the end, its entries are kept: restored files may settle it
// at the next start, or somebody must decide.
void RecoveryRun::Refuse(const OldJournal* journal, JournalKey key, PartitionVerdict verdict,
                         std::string reason, uint64_t good_seq, Outcome* outcome) {
  RecoveredPartition& partition = outcome->partition;
  partition.verdict = verdict;
  partition.proven = true;
  partition.reason = std::move(reason);
  CheckpointRecord record = RecordOf(key, partition);
  record.flags |= kRecordRefused;
  if (verdict == PartitionVerdict::kSuspect) record.flags |= kRecordSuspect;
  record.sync_seq = good_seq;
  outcome->record = record;
  if (journal == nullptr) return;
  const auto entries = journal->entries.find(key);
  if (entries == journal->entries.end()) return;
  for (const ScannedEntry* each : entries->second) {
    if (each->seq <= good_seq) continue;
    const JournalFileFound& file = journal->scan.files[each->file];
    outcome->held.insert({file.run, file.core, file.number, file.end_block});
  }
}

// As a failed sync at run time: its record and all its entries are kept as they are, and the next
// start tries again.
void RecoveryRun::Keep(const OldJournal* journal, JournalKey key, std::string reason,
                       Outcome* outcome) {
  std::optional<CheckpointRecord> record;
  if (journal != nullptr) {
    const auto found = journal->records.find(key);
    if (found != journal->records.end()) record = found->second;
  }
  if (record.has_value()) TakeRecord(*record, &outcome->partition);
  Refuse(journal, key, PartitionVerdict::kRefused, std::move(reason),
         record.has_value() ? record->sync_seq : 0, outcome);
  uint32_t& flags = outcome->record->flags;
  if (record.has_value() && (record->flags & kRecordRefused) != 0) {
    flags |= record->flags;
    return;
  }
  flags |= kRecordPoisoned;
  if (!record.has_value()) flags &= ~kRecordPageCache;  // every log begins without
  const bool lost =
      journal != nullptr &&
      std::any_of(journal->scan.lost.begin(), journal->scan.lost.end(),
                  [&](const SeqRange& range) { return range.last > outcome->record->sync_seq; });
  if (lost) flags |= kRecordSuspect;
}

std::string RecoveryRun::NoDirectory() const {
  if (unreadable_.empty()) return "its directory is missing";
  return absl::StrCat("its directory is missing, or is one of those whose ", kPartitionMetadataFile,
                      " cannot be read: ", unreadable_);
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
  // For as long as somebody has to decide which is right, its record and its entries are kept.
  if (found != directories_.end() && found->second.size() > 1) {
    Keep(journal, key,
         absl::StrCat(found->second[0], " and ", found->second[1],
                      " are of the same topic id; move away the one that is a copy"),
         outcome);
    co_return;
  }
  if (journals.size() > 1) {
    Keep(journal, key,
         absl::StrCat("it is in the journals of cores ", journals[0]->core, " and ",
                      journals[1]->core, ", and neither has released it"),
         outcome);
    co_return;
  }
  if (!listed && found == directories_.end()) {
    outcome->gone = true;  // deleted, and its name is gone, too
    co_return;
  }
  SegmentFiles files(io, partition.directory);
  if (found != directories_.end()) {
    const absl::Status read = files.List();
    if (!read.ok()) {
      Keep(journal, key, absl::StrCat("its files cannot be listed: ", read.message()), outcome);
      co_return;
    }
  }
  if (journal == nullptr) {
    // Nothing was ever journaled of it, or a journal is lost that may have had something.
    if (!AnyLost() || kMutantNoSuspects) co_return;
    partition.end = kUnknownEnd;
    Refuse(nullptr, key, PartitionVerdict::kSuspect,
           "what it had may have been in a journal, or in frames of one, that are lost", 0,
           outcome);
    co_return;
  }
  const auto record = journal->records.find(key);
  constexpr uint32_t kClosed = kRecordPoisoned | kRecordRefused;
  const bool whole = record != journal->records.end() && (record->second.flags & kClosed) == 0;
  outcome->status = clean_ && whole ? co_await RecoverClean(record->second, &files, outcome)
                                    : co_await RecoverChain(io, key, journal, &files, outcome);
}

// All was synced, and nothing was written since, unless somebody else did.
task::Task<absl::Status> RecoveryRun::RecoverClean(const CheckpointRecord& record,
                                                   SegmentFiles* files, Outcome* outcome) {
  const JournalKey key(record.topic_id, record.partition);
  RecoveredPartition& partition = outcome->partition;
  TakeRecord(record, &partition);
  const bool begins = files->BeginsBy(partition.log_start, partition.end);
  if (partition.directory.empty() || !begins ||
      !files->Reaches(partition.end, partition.log_start)) {
    Refuse(nullptr, key, PartitionVerdict::kRefused,
           partition.directory.empty() ? NoDirectory()
           : !begins
               ? files->WhatIsMissing(partition.log_start)
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
  // Where the one that R names got nothing, the one before ends the log: a scan tells where.
  const bool here = last != sizes.rend() && last->first == partition.end.segment_base;
  partition.proven =
      last == sizes.rend() || (here && last->second == int64_t{partition.end.position});
  if (!partition.proven && (here || last->first > partition.end.segment_base)) {
    RT_LOG(kWarn, "{}: longer than the broker left it: another program has appended to it",
           partition.directory);
  }
  outcome->record = RecordOf(key, partition);
  co_return absl::OkStatus();
}

// What was closed in an earlier run is looked at again: frames between its entries may have been
// lost then, so that what the segments have must fill the gaps.
task::Task<absl::StatusOr<Chain>> RecoveryRun::Follow(JournalKey key, OldJournal* journal,
                                                      SegmentFiles* files) {
  std::optional<CheckpointRecord> start;
  const auto record = journal->records.find(key);
  if (record != journal->records.end()) start = record->second;
  std::vector<const ScannedEntry*> entries;
  const auto found = journal->entries.find(key);
  if (found != journal->entries.end()) entries = found->second;
  if (!start.has_value() || (start->flags & kRecordRefused) == 0) {
    co_return co_await FollowChain(start, std::move(entries), journal->scan.lost, *files);
  }
  std::vector<SeqRange> between;
  if (!entries.empty()) between.push_back({start->sync_seq, entries.back()->seq});
  const bool suspect = (start->flags & kRecordSuspect) != 0 && !kMutantSuspectsForgotten;
  RT_CO_ASSIGN_OR_RETURN(Chain chain,
                         co_await FollowChain(start, std::move(entries), between, *files));
  chain.lossy = false;
  if (chain.dropped || (!suspect && journal->held_lost.empty())) co_return chain;
  if (!chain.refused) {
    chain.reason = suspect ? "it was closed in an earlier run, as a lost part of a journal may "
                             "have had records of it, and has not been accepted since"
                           : absl::StrCat(
                                 "it was closed in an earlier run, and what was kept "
                                 "for it is lost: ",
                                 journal->held_lost);
  }
  chain.suspect = true;
  co_return chain;
}

// Whether the files have all that the chain builds on.
bool RecoveryRun::IsThere(JournalKey key, OldJournal* journal, const SegmentFiles& files,
                          Chain* chain, Outcome* outcome) {
  const bool written =
      std::any_of(chain->writes.begin(), chain->writes.end(), [&](const ScannedEntry* each) {
        return each->entry.position == 0 && each->entry.segment_base <= chain->log_start;
      });
  std::string missing;
  // What a page_cache log has above its synced end may go with the power.
  const LogEnd& needed = chain->page_cache ? chain->lowest : chain->end;
  if (!written && !files.BeginsBy(chain->log_start, needed)) {
    missing = files.WhatIsMissing(chain->log_start);
  }
  if (missing.empty() && files.Reaches(chain->lowest, chain->log_start) &&
      ForgetTrimmed(files, chain)) {
    return true;
  }
  if (missing.empty()) {
    missing = absl::StrCat(files.PathOf(chain->lowest.segment_base), " is shorter than the ",
                           chain->lowest.position, " bytes that were synced");
  }
  const auto record = journal->records.find(key);
  outcome->partition.end = chain->start;
  Refuse(journal, key, PartitionVerdict::kRefused, std::move(missing),
         record == journal->records.end() ? 0 : record->second.sync_seq, outcome);
  if (chain->suspect) outcome->record->flags |= kRecordSuspect;
  return false;
}

task::Task<absl::Status> RecoveryRun::RecoverChain(io::Backend& io, JournalKey key,
                                                   OldJournal* journal, SegmentFiles* files,
                                                   Outcome* outcome) {
  RecoveredPartition& partition = outcome->partition;
  RT_CO_ASSIGN_OR_RETURN(Chain chain, co_await Follow(key, journal, files));
  if (chain.dropped) {
    co_await RemoveDropped(io, key, outcome);
    co_return outcome->status;
  }
  const auto record = journal->records.find(key);
  const uint32_t flags = record == journal->records.end() ? 0 : record->second.flags;
  uint64_t good_seq = record == journal->records.end() ? 0 : record->second.sync_seq;
  partition.end = chain.has_end ? chain.end : kUnknownEnd;
  partition.rebuild_from = std::min(chain.start.segment_base, chain.lowest.segment_base);
  partition.log_start = chain.log_start;
  partition.leader_epoch = chain.leader_epoch;
  partition.page_cache = chain.page_cache;
  partition.entries_healed = chain.healed;
  if (partition.directory.empty()) {
    partition.end = chain.has_end ? chain.start : kUnknownEnd;
    Refuse(journal, key, PartitionVerdict::kRefused, NoDirectory(), good_seq, outcome);
    if (chain.suspect) outcome->record->flags |= kRecordSuspect;
    co_return absl::OkStatus();
  }
  if (!chain.has_end || chain.end.offset == kRecordEndUnknown) {
    partition.proven = false;
    if (chain.suspect) {
      Refuse(journal, key, PartitionVerdict::kSuspect, chain.reason, good_seq, outcome);
    } else if (chain.refused) {
      Refuse(journal, key, PartitionVerdict::kRefused, chain.reason, good_seq, outcome);
    } else if (chain.has_end) {
      partition.end = {};  // closed once without an end, and settled since
    }
    co_return absl::OkStatus();
  }
  NoteLostTrim(*files, &chain);
  partition.log_start = chain.log_start;
  if (!IsThere(key, journal, *files, &chain, outcome)) co_return absl::OkStatus();
  // Above what was synced a page_cache log is scanned: what it appended is in no journal.
  partition.end = chain.page_cache && chain.ends_cut ? chain.lowest : chain.end;
  if (!chain.writes.empty()) good_seq = std::max(good_seq, chain.writes.back()->seq);
  const absl::Status applied = co_await Apply(io, *journal, chain, files, outcome);
  if (!applied.ok()) {
    Keep(journal, key, absl::StrCat("its files cannot be written: ", applied.message()), outcome);
    outcome->record->flags &= ~kRecordSuspect;
    if (chain.suspect) outcome->record->flags |= kRecordSuspect;
    partition.end = chain.end;
    if (record == journal->records.end()) {
      outcome->record->offset = chain.start.offset;
      outcome->record->segment_base = chain.start.segment_base;
      outcome->record->position = chain.start.position;
    }
    co_return absl::OkStatus();
  }
  partition.end = EndInFiles(partition.end, *files);
  if (chain.refused || chain.suspect) {
    Refuse(journal, key, chain.refused ? PartitionVerdict::kRefused : PartitionVerdict::kSuspect,
           chain.reason, good_seq, outcome);
    if (chain.suspect) outcome->record->flags |= kRecordSuspect;
    co_return absl::OkStatus();
  }
  if ((flags & kRecordRefused) != 0) {
    RT_LOG(kInfo, "{}: was closed in an earlier run; its files have all again that they had",
           partition.directory);
  }
  partition.proven = !chain.page_cache;
  partition.write_again = chain.page_cache && (flags & kRecordPoisoned) != 0;
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
    const auto room =
        co_await files->RoomToWrite(entry.segment_base, entry.position, entry.payload_bytes);
    status = room.status();
    if (status.ok()) status = co_await payloads.Read(*each, *room);
    if (!status.ok()) break;
    partition.bytes_applied += entry.payload_bytes;
  }
  co_await payloads.Close();
  if (status.ok()) {
    status = co_await files->Flush();
  } else {
    co_await files->Discard();
  }
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
  if (!syncs_each_) co_return absl::OkStatus();  // before the MANIFEST is replaced, all are
  for (const uint64_t base : touched) RT_CO_RETURN_IF_ERROR(co_await files->Sync(base));
  if (names) RT_CO_RETURN_IF_ERROR(co_await files->SyncNames());
  co_return absl::OkStatus();
}

}  // namespace ringtail::log
