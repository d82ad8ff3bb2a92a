#include "engine/log/log_recovery.h"

#include <algorithm>
#include <limits>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/result.h"
#include "engine/io/file.h"
#include "engine/log/data_directory.h"
#include "engine/log/header_reader.h"
#include "engine/log/segment_scan.h"

namespace ringtail::log {
namespace {

constexpr int64_t kSnapshotBytesMax = 256 << 20;
constexpr int64_t kEpochFileBytesMax = 16 << 20;
constexpr int64_t kWriteAgainBytes = 1 << 20;
constexpr char kTransactionIndexSuffix[] = ".txnindex";
// Segments follow each other without a gap, as far as their indexes can express it (Log::Enqueue).
constexpr int64_t kGapMin = INT32_MAX / 2;

}  // namespace

task::Task<absl::StatusOr<std::unique_ptr<Log>>> Log::Create(LogEnvironment& env,
                                                             LogObserver& observer,
                                                             std::string directory,
                                                             LogConfig config, TopicPartition name,
                                                             base::Uuid topic_id) {
  if (env.io().StatPath(directory).ok()) {
    co_return absl::AlreadyExistsError(directory + " exists");
  }
  RT_CO_RETURN_IF_ERROR(co_await io::MakeDirectory(env.io(), directory));
  RT_CO_RETURN_IF_ERROR(co_await io::ReplaceFile(env.io(), directory + "/" + kPartitionMetadataFile,
                                                 EncodePartitionMetadata(topic_id)));
  // Nothing may be acknowledged in a directory that a power cut could take away.
  RT_CO_RETURN_IF_ERROR(co_await io::SyncDirectory(env.io(), io::ParentOf(directory)));
  co_return co_await Open(env, observer, std::move(directory), config, std::move(name),
                          OpenOptions{.clean = true, .topic_id = topic_id}, nullptr);
}

task::Task<absl::StatusOr<std::unique_ptr<Log>>> Log::Open(LogEnvironment& env,
                                                           LogObserver& observer,
                                                           std::string directory, LogConfig config,
                                                           TopicPartition name, OpenOptions options,
                                                           RecoveryInfo* info) {
  RecoveryInfo unused;
  std::unique_ptr<Log> log(new Log(env, observer, std::move(directory), config, std::move(name)));
  Recovery recovery(*log, options, info != nullptr ? info : &unused);
  RT_CO_RETURN_IF_ERROR(co_await recovery.Run());
  RT_CO_RETURN_IF_ERROR(co_await log->Attach(options));
  log->StartBackground();
  co_return log;
}

task::Task<absl::Status> Log::Recovery::Run() {
  RT_CO_RETURN_IF_ERROR(ListFiles());
  if (!ReadOnly()) {
    RT_CO_RETURN_IF_ERROR(co_await FinishSwaps());
    RT_CO_RETURN_IF_ERROR(co_await RemoveDebris());
  }
  RT_CO_RETURN_IF_ERROR(co_await LoadEpochs());
  RT_CO_RETURN_IF_ERROR(IsProven() ? co_await LoadProven() : co_await LoadSegments());
  RT_CO_RETURN_IF_ERROR(co_await SetStart());
  RT_CO_RETURN_IF_ERROR(co_await log_.Replay(options_.clean));
  // What was cut must stay cut, whatever is appended before the next crash.
  if (changed_) {
    log_.directory_dirty_ = true;
    RT_CO_RETURN_IF_ERROR(co_await log_.SyncWritten());
  }
  co_return absl::OkStatus();
}

absl::Status Log::Recovery::ListFiles() {
  RT_ASSIGN_OR_RETURN(const auto entries, log_.env_.io().ListDirectory(log_.directory_));
  for (const io::DirectoryEntry& entry : entries) {
    if (!entry.is_directory) names_.insert(entry.name);
    base::Offset base;
    if (ParseSegmentFileName(entry.name, kLogSuffix, &base)) bases_.insert(base);
  }
  for (const std::string& name : names_) {
    base::Offset base;
    if (ParseSegmentFileName(name, kSwapSuffix, &base)) {
      swaps_.push_back(base);
    } else if (absl::EndsWith(name, ".deleted") || absl::EndsWith(name, ".cleaned") ||
               absl::EndsWith(name, ".swap") || absl::EndsWith(name, ".tmp")) {
      debris_.push_back(name);
    }
    for (const char* suffix : {kIndexSuffix, kTimeIndexSuffix, kTransactionIndexSuffix}) {
      if (ParseSegmentFileName(name, suffix, &base) && !bases_.contains(base))
        debris_.push_back(name);
    }
    if (ParseSegmentFileName(name, kSnapshotSuffix, &base)) log_.snapshots_.push_back(base);
  }
  std::sort(log_.snapshots_.begin(), log_.snapshots_.end());
  return absl::OkStatus();
}

// A compaction (Kafka's, too) was cut short when what it made was whole and some of the old
// segments may be gone. It takes the place of all that begin within it.
task::Task<absl::Status> Log::Recovery::FinishSwaps() {
  io::Backend& io = log_.env_.io();
  for (const base::Offset base : swaps_) {
    const std::string swap = log_.directory_ + "/" + SegmentFileName(base, kSwapSuffix);
    RT_CO_ASSIGN_OR_RETURN(FilePin pin,
                           co_await log_.env_.files().Pin(log_.env_.files().Add(swap)));
    RT_CO_ASSIGN_OR_RETURN(const io::FileInfo file, io.Stat(pin.fd()));
    RT_CO_ASSIGN_OR_RETURN(const base::Offset end, co_await EndFrom(pin, 0, file.size_bytes, base));
    pin.Release();
    std::vector<std::string> replaced;
    for (const std::string& name : names_) {
      base::Offset each;
      const bool is_log = ParseSegmentFileName(name, kLogSuffix, &each);
      if (!is_log && !ParseSegmentFileName(name, kIndexSuffix, &each) &&
          !ParseSegmentFileName(name, kTimeIndexSuffix, &each)) {
        continue;
      }
      if (each >= base && each < end && !(is_log && each == base)) replaced.push_back(name);
    }
    for (const std::string& name : replaced) {
      RT_CO_RETURN_IF_ERROR(co_await io::Unlink(io, log_.directory_ + "/" + name));
      names_.erase(name);
      base::Offset each;
      if (ParseSegmentFileName(name, kLogSuffix, &each)) bases_.erase(each);
    }
    RT_CO_RETURN_IF_ERROR(co_await io::SyncDirectory(io, log_.directory_));
    const std::string name = SegmentFileName(base, kLogSuffix);
    RT_CO_RETURN_IF_ERROR(co_await io::Rename(io, swap, log_.directory_ + "/" + name));
    RT_CO_RETURN_IF_ERROR(co_await io::SyncDirectory(io, log_.directory_));
    names_.insert(name);
    bases_.insert(base);
  }
  std::erase_if(debris_, [&](const std::string& name) { return !names_.contains(name); });
  co_return absl::OkStatus();
}

task::Task<absl::StatusOr<base::Offset>> Log::Recovery::EndFrom(const FilePin& pin,
                                                                int64_t position, int64_t bytes,
                                                                base::Offset end) {
  HeaderReader reader(log_.env_, pin, bytes);
  while (position < bytes) {
    if (!reader.Try(position)) RT_CO_RETURN_IF_ERROR(co_await reader.Load(position));
    end = reader.header().next_offset();
    position += static_cast<int64_t>(reader.header().size_bytes());
  }
  co_return end;
}

task::Task<absl::Status> Log::Recovery::RemoveDebris() {
  for (const std::string& name : debris_) {
    RT_CO_RETURN_IF_ERROR(co_await io::Unlink(log_.env_.io(), log_.directory_ + "/" + name));
  }
  co_return absl::OkStatus();
}

task::Task<absl::Status> Log::Recovery::LoadEpochs() {
  const absl::StatusOr<std::string> text = co_await io::ReadWholeFile(
      log_.env_.io(), log_.directory_ + "/" + kEpochCheckpointFile, kEpochFileBytesMax);
  if (text.ok()) {
    absl::StatusOr<EpochCache> epochs = EpochCache::Decode(*text);
    if (epochs.ok()) {
      log_.epochs_ = *std::move(epochs);
      log_.epochs_unsynced_ = !options_.clean;
      co_return absl::OkStatus();
    }
  } else if (!absl::IsNotFound(text.status())) {
    co_return text.status();
  }
  // Without it the batches tell: scan them all.
  scan_all_ = true;
  log_.epochs_dirty_ = !bases_.empty();
  co_return absl::OkStatus();
}

task::Task<absl::Status> Log::Recovery::LoadSegments() {
  base::Offset end = bases_.empty() ? options_.log_start : *bases_.begin();
  bool cut = false;
  std::vector<std::unique_ptr<Segment>> behind_cut;
  const bool journaled = options_.recovered.has_value();
  for (auto base = bases_.begin(); base != bases_.end(); ++base) {
    const auto next = std::next(base);
    const bool last = next == bases_.end();
    if (journaled && *base <= options_.recovery_point) {
      RT_CO_RETURN_IF_ERROR(CheckFollows(end, *base));
    }
    // A hole is a loss, unless what is before was synced: then compaction made it.
    const bool hole = *base != end && *base > options_.recovery_point && !options_.clean;
    if (hole && !cut) info_->cut_reason = "bytes are missing before the next segment";
    cut |= hole || *base < end;
    log_.AddSegment(*base);
    Segment& segment = log_.active();
    segment.created = true;
    if (cut) {
      behind_cut.push_back(std::move(log_.segments_.back()));
      log_.segments_.pop_back();
      continue;
    }
    const bool vouched = options_.clean || (!last && *next <= options_.recovery_point);
    bool trusted = false;
    if (vouched && !scan_all_) {
      RT_CO_ASSIGN_OR_RETURN(trusted, co_await Trust(segment, last, &end));
    }
    if (!trusted) RT_CO_RETURN_IF_ERROR(co_await Scan(segment, &end, &cut));
    if (trusted && !last && !journaled) end = *next;
  }
  info_->segments_removed += static_cast<uint32_t>(behind_cut.size());
  changed_ |= !behind_cut.empty();
  std::reverse(behind_cut.begin(), behind_cut.end());
  RT_CO_RETURN_IF_ERROR(co_await log_.RemoveFiles(std::move(behind_cut)));
  if (log_.segments_.empty()) log_.AddSegment(end);
  log_.log_end_ = log_.written_end_ = end;
  log_.recovery_point_ =
      options_.clean ? end : std::min(options_.recovery_point, log_.active().base());
  log_.synced_end_ = log_.recovery_point_;
  co_return absl::OkStatus();
}

task::Task<absl::Status> Log::Recovery::LoadProven() {
  const RecoveredLog& proven = *options_.recovered;
  const base::Offset last_base(static_cast<int64_t>(proven.end.segment_base));
  base::Offset end =
      bases_.empty() ? base::Offset(static_cast<int64_t>(proven.end.offset)) : *bases_.begin();
  if (!ReadOnly() && end > proven.log_start &&
      static_cast<int64_t>(proven.end.offset) > proven.log_start.value()) {
    co_return absl::DataLossError(absl::StrCat(log_.directory_, ": its segments from offset ",
                                               proven.log_start.value(), " to ", end.value(),
                                               " are missing"));
  }
  for (auto base = bases_.begin(); base != bases_.end(); ++base) {
    const auto next = std::next(base);
    const bool last = next == bases_.end() || *base >= last_base;
    if (ReadOnly() && *base > last_base) break;
    if (const absl::Status follows = CheckFollows(end, *base); !follows.ok()) {
      if (ReadOnly()) break;
      co_return follows;
    }
    log_.AddSegment(*base);
    Segment& segment = log_.active();
    segment.created = true;
    const bool vouched = options_.clean || (!last && *next <= options_.recovery_point);
    bool trusted = false;
    if (vouched && !scan_all_ && !ReadOnly()) {
      RT_CO_ASSIGN_OR_RETURN(trusted, co_await Trust(segment, last, &end));
    }
    if (!trusted) {
      const int64_t limit = last ? int64_t{proven.end.position} : INT64_MAX;
      const absl::Status walked = co_await Walk(segment, limit, &end);
      if (!walked.ok() && !ReadOnly()) co_return walked;
      if (!walked.ok()) break;
    }
  }
  if (log_.segments_.empty()) log_.AddSegment(end);
  if (!ReadOnly()) RT_CO_RETURN_IF_ERROR(CheckProvenEnd(end));
  log_.log_end_ = log_.written_end_ = end;
  log_.recovery_point_ = options_.clean ? end : std::min(end, log_.active().base());
  log_.synced_end_ = end;
  co_return absl::OkStatus();
}

// The place was proven, the files were cut there: whatever else is found is damage.
absl::Status Log::Recovery::CheckProvenEnd(base::Offset end) const {
  const LogEnd& proven = options_.recovered->end;
  const Segment& last = *log_.segments_.back();
  const bool empty = bases_.empty() || last.totals.bytes == 0;
  const bool placed = empty || (static_cast<uint64_t>(last.base().value()) == proven.segment_base &&
                                last.totals.bytes == int64_t{proven.position});
  // A log that starts past its end, as all of it was removed, goes on where it starts.
  const bool ends = static_cast<uint64_t>(end.value()) == proven.offset ||
                    (empty && static_cast<uint64_t>(end.value()) >= proven.offset);
  if (placed && ends) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(
      log_.directory_, ": the journal proves that it ends at offset ", proven.offset, ", byte ",
      proven.position, " of segment ", proven.segment_base, "; found offset ", end.value(),
      ", byte ", last.totals.bytes, " of segment ", last.base().value()));
}

task::Task<absl::Status> Log::Recovery::Walk(Segment& segment, int64_t end_position,
                                             base::Offset* end) {
  info_->scanned = true;
  RT_CO_ASSIGN_OR_RETURN(const FilePin pin, co_await log_.env_.files().Pin(segment.file()));
  RT_CO_ASSIGN_OR_RETURN(const io::FileInfo file, log_.env_.io().Stat(pin.fd()));
  const int64_t bytes = std::min(end_position, file.size_bytes);
  segment.index().Reset();
  segment.time_index().Reset();
  segment.max_loaded = true;
  segment.totals = segment.EmptyTotals();
  *end = segment.base();
  HeaderReader reader(log_.env_, pin, bytes);
  absl::Status status;
  while (segment.totals.bytes < bytes) {
    const int64_t position = segment.totals.bytes;
    if (!reader.Try(position)) status = co_await reader.Load(position);
    if (!status.ok()) break;
    const BatchHeader& batch = reader.header();
    if (batch.base_offset() < segment.totals.next_offset || batch.last_offset_delta() < 0 ||
        position + static_cast<int64_t>(batch.size_bytes()) > bytes) {
      status = absl::DataLossError(absl::StrCat(
          segment.file()->path(), " at byte ", position, ": expected a batch from offset ",
          segment.totals.next_offset.value(), " on that ends by byte ", bytes, ", found offset ",
          batch.base_offset().value(), ", ", batch.size_bytes(), " bytes"));
      break;
    }
    segment.NoteBatch(batch, log_.config_);
    if (log_.epochs_.EpochAt(batch.base_offset()) != batch.leader_epoch() &&
        log_.epochs_.Assign(batch.leader_epoch(), batch.base_offset())) {
      log_.epochs_dirty_ = true;
    }
  }
  segment.written_bytes = segment.totals.bytes;
  segment.allocated_bytes = std::max(segment.written_bytes, file.size_bytes);
  *end = segment.totals.next_offset;
  co_return status;
}

task::Task<absl::StatusOr<bool>> Log::Recovery::Trust(Segment& segment, bool last,
                                                      base::Offset* end) {
  io::Backend& io = log_.env_.io();
  RT_CO_ASSIGN_OR_RETURN(const io::FileInfo file, io.StatPath(segment.file()->path()));
  const auto index = io.StatPath(segment.index().file()->path());
  const auto times = io.StatPath(segment.time_index().file()->path());
  if (!index.ok() || !times.ok()) co_return false;
  if (index->size_bytes % kIndexEntryBytes != 0 || times->size_bytes % kTimeEntryBytes != 0) {
    co_return false;
  }
  segment.index().Trust(index->size_bytes / kIndexEntryBytes);
  segment.time_index().Trust(times->size_bytes / kTimeEntryBytes);
  segment.totals.bytes = segment.written_bytes = segment.allocated_bytes = file.size_bytes;
  segment.saved = !last;
  segment.max_loaded = false;
  if (!last) {
    if (!options_.recovered.has_value()) co_return true;
    const absl::StatusOr<base::Offset> ends = co_await EndOf(segment);
    if (ends.ok()) *end = *ends;
    co_return ends.ok();
  }
  *end = segment.base();
  absl::Status loaded = co_await segment.time_index().LoadLast();
  if (loaded.ok()) loaded = co_await log_.LoadTotals(segment, file.size_bytes, end);
  if (loaded.ok()) co_return true;
  info_->cut_reason = std::string(loaded.message());
  segment.totals = segment.EmptyTotals();
  co_return false;
}

absl::Status Log::Recovery::CheckFollows(base::Offset end, base::Offset base) const {
  if (base < end) {
    return absl::DataLossError(absl::StrCat(log_.directory_, ": the segment ", base.value(),
                                            " begins below the end of the one before, ",
                                            end.value()));
  }
  if (base == end || base <= options_.log_start || base - end >= kGapMin) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(log_.directory_, ": its segments from offset ",
                                          end.value(), " to ", base.value(), " are missing"));
}

task::Task<absl::StatusOr<base::Offset>> Log::Recovery::EndOf(Segment& segment) {
  const int64_t bytes = segment.written_bytes;
  RT_CO_ASSIGN_OR_RETURN(const auto entry, co_await segment.index().LookupPosition(INT32_MAX));
  const int64_t position = entry.has_value() ? entry->position : 0;
  if (position < 0 || (entry.has_value() && position >= bytes)) {
    co_return absl::DataLossError("index points past the end: " + segment.file()->path());
  }
  RT_CO_ASSIGN_OR_RETURN(const FilePin pin, co_await log_.env_.files().Pin(segment.file()));
  co_return co_await EndFrom(pin, position, bytes, segment.base());
}

task::Task<absl::Status> Log::Recovery::Scan(Segment& segment, base::Offset* end, bool* cut) {
  info_->scanned = true;
  // What it holds may be in the page cache only, and so may its name.
  segment.dirty = log_.directory_dirty_ = true;
  RT_CO_ASSIGN_OR_RETURN(const FilePin pin, co_await log_.env_.files().Pin(segment.file()));
  segment.index().Reset();
  segment.time_index().Reset();
  segment.max_loaded = true;
  segment.totals = segment.EmptyTotals();
  const auto visit = [&](const BatchHeader& batch) {
    segment.NoteBatch(batch, log_.config_);
    // The checkpoint may be older or newer than the batches: they are right.
    if (log_.epochs_.EpochAt(batch.base_offset()) != batch.leader_epoch() &&
        log_.epochs_.Assign(batch.leader_epoch(), batch.base_offset())) {
      log_.epochs_dirty_ = true;
    }
  };
  RT_CO_ASSIGN_OR_RETURN(const ScanResult scan,
                         co_await ScanSegment(log_.env_, pin, segment.base(), visit));
  RT_CHECK(scan.valid_bytes == segment.totals.bytes);
  info_->bytes_scanned += scan.valid_bytes;
  segment.written_bytes = segment.allocated_bytes = scan.valid_bytes;
  *end = scan.next_offset;
  if (options_.recovered.has_value() && options_.recovered->write_again) {
    const LogEnd& synced = options_.recovered->end;
    const bool here = static_cast<uint64_t>(segment.base().value()) == synced.segment_base;
    RT_CO_RETURN_IF_ERROR(
        co_await WriteAgain(pin, here ? int64_t{synced.position} : 0, scan.valid_bytes));
  }
  if (scan.valid_bytes == scan.file_bytes) co_return absl::OkStatus();
  if (options_.recovered.has_value()) {
    // Below what was synced nothing is ever cut.
    const LogEnd& synced = options_.recovered->end;
    const auto base = static_cast<uint64_t>(segment.base().value());
    if (base < synced.segment_base
            ? !scan.reason.empty()
            : base == synced.segment_base && scan.valid_bytes < int64_t{synced.position}) {
      co_return absl::DataLossError(absl::StrCat(
          segment.file()->path(), " at ", scan.valid_bytes, ": damaged below the synced end, byte ",
          synced.position, " of segment ", synced.segment_base, ": ", scan.reason));
    }
  }
  info_->bytes_cut += scan.file_bytes - scan.valid_bytes;
  // Zeros behind the last batch are what preallocation leaves, in a sealed segment too.
  if (!scan.reason.empty()) {
    info_->cut_reason =
        absl::StrCat(segment.file()->path(), " at ", scan.valid_bytes, ": ", scan.reason);
    changed_ = *cut = true;
  }
  const int error = log_.env_.io().Truncate(pin.fd(), scan.valid_bytes);
  if (error != 0) co_return io::ErrnoStatus(-error, "truncate", segment.file()->path());
  co_return absl::OkStatus();
}

task::Task<absl::Status> Log::Recovery::WriteAgain(const FilePin& pin, int64_t from, int64_t to) {
  io::Backend& io = log_.env_.io();
  std::vector<uint8_t> bytes;
  while (from < to) {
    bytes.resize(static_cast<size_t>(std::min(to - from, kWriteAgainBytes)));
    iovec vector{bytes.data(), bytes.size()};
    int64_t done = co_await io::ReadFully(io, pin.fd(), &vector, 1, from);
    vector = {bytes.data(), static_cast<size_t>(std::max<int64_t>(done, 0))};
    if (done > 0) done = co_await io::WriteFully(io, pin.fd(), &vector, 1, from, 0);
    if (done <= 0) {
      co_return io::ErrnoStatus(done < 0 ? static_cast<int>(-done) : EIO, "write again",
                                log_.directory_);
    }
    from += done;
  }
  co_return absl::OkStatus();
}

task::Task<absl::Status> Log::Recovery::SetStart() {
  log_.log_start_ = std::max(options_.log_start, log_.segments_.front()->base());
  if (log_.log_start_ > log_.log_end_) {
    // Everything that was left is gone: go on where the log was known to start.
    std::vector<std::unique_ptr<Segment>> removed;
    std::move(log_.segments_.rbegin(), log_.segments_.rend(), std::back_inserter(removed));
    log_.segments_.clear();
    info_->segments_removed += static_cast<uint32_t>(removed.size());
    RT_CO_RETURN_IF_ERROR(co_await log_.RemoveFiles(std::move(removed)));
    log_.AddSegment(log_.log_start_);
    log_.log_end_ = log_.written_end_ = log_.log_start_;
    log_.synced_end_ = log_.recovery_point_ = log_.log_start_;
    changed_ = true;
  }
  if (log_.epochs_.TruncateFromEnd(log_.log_end_)) log_.epochs_dirty_ = true;
  if (log_.epochs_.TruncateFromStart(log_.log_start_)) log_.epochs_dirty_ = true;
  co_return co_await log_.RemoveSnapshotsPast(log_.log_end_);
}

// What the batches behind the last index entry add to the totals, for a segment of `bytes` whose
// indexes are right. `next_offset`, if not null, is set to where the segment ends.
task::Task<absl::Status> Log::LoadTotals(Segment& segment, int64_t bytes,
                                         base::Offset* next_offset) {
  Segment::Totals totals = segment.EmptyTotals();
  totals.max_timestamp_ms = segment.time_index().last().timestamp_ms;
  totals.max_timestamp_offset = segment.time_index().last().offset;
  RT_CO_ASSIGN_OR_RETURN(const auto entry, co_await segment.index().LookupPosition(
                                               std::numeric_limits<int32_t>::max()));
  int64_t position = entry.has_value() ? entry->position : 0;
  if (position < 0 || (entry.has_value() && position >= bytes)) {
    co_return absl::DataLossError("index points past the end: " + segment.file()->path());
  }
  RT_CO_ASSIGN_OR_RETURN(const FilePin pin, co_await env_.files().Pin(segment.file()));
  HeaderReader reader(env_, pin, bytes);
  if (bytes > 0) {
    if (!reader.Try(0)) RT_CO_RETURN_IF_ERROR(co_await reader.Load(0));
    totals.first_timestamp_ms = reader.header().max_timestamp_ms();
  }
  const int64_t indexed = position;
  while (position < bytes) {
    if (!reader.Try(position)) RT_CO_RETURN_IF_ERROR(co_await reader.Load(position));
    const BatchHeader& batch = reader.header();
    const bool fits =
        position != indexed || !entry.has_value() || batch.last_offset() == entry->offset;
    if (!fits || batch.base_offset() < segment.base() || batch.last_offset_delta() < 0) {
      co_return absl::DataLossError("index or offsets do not fit: " + segment.file()->path());
    }
    if (batch.max_timestamp_ms() > totals.max_timestamp_ms) {
      totals.max_timestamp_ms = batch.max_timestamp_ms();
      totals.max_timestamp_offset = batch.last_offset();
    }
    totals.next_offset = batch.next_offset();
    position += static_cast<int64_t>(batch.size_bytes());
  }
  totals.bytes = bytes;
  totals.bytes_since_index = bytes - indexed;
  if (next_offset != nullptr) *next_offset = totals.next_offset;
  segment.totals = totals;
  segment.max_loaded = true;
  co_return absl::OkStatus();
}

// A snapshot has the last batch of each producer, where a retry may name one of the last five: some
// of what lies before it is read, too. That is only a help, so damage in there ends it quietly.
task::Task<absl::Status> Log::Replay(bool clean) {
  observer_.ResetProducers();
  if (!observer_.KeepsProducers()) co_return absl::OkStatus();
  base::Offset from = log_start_;
  while (!snapshots_.empty()) {
    const base::Offset end = snapshots_.back();
    const absl::StatusOr<std::string> bytes = co_await io::ReadWholeFile(
        env_.io(), directory_ + "/" + SegmentFileName(end, kSnapshotSuffix), kSnapshotBytesMax);
    absl::Status loaded = bytes.status();
    if (bytes.ok()) loaded = observer_.LoadProducerSnapshot(end, base::AsBytes(*bytes));
    if (loaded.ok()) {
      from = std::max(from, end);
      const absl::Status recalled =
          co_await VisitBatches(std::max(log_start_, HistoryStart(end, clean)), from,
                                [this](const auto& batch) { observer_.RecallBatch(batch); });
      if (!recalled.ok() && !absl::IsDataLoss(recalled)) co_return recalled;
      break;
    }
    observer_.ResetProducers();
    RT_CO_RETURN_IF_ERROR(co_await RemoveSnapshot(end));
  }
  co_return co_await VisitBatches(from, written_end_,
                                  [this](const auto& batch) { observer_.ReplayBatch(batch); });
}

// A clean stop has left a snapshot where what it knew began.
base::Offset Log::HistoryStart(base::Offset end, bool clean) const {
  const base::Offset earliest = end - kHistoryRecordsMax;
  return clean ? *std::lower_bound(snapshots_.begin(), snapshots_.end(), earliest) : earliest;
}

// The headers of all batches of which a record lies in the range.
template <class Visit>
task::Task<absl::Status> Log::VisitBatches(base::Offset from, base::Offset to, Visit visit) {
  for (size_t i = SegmentIndexFor(from); i < segments_.size() && from < to; ++i) {
    Segment& segment = *segments_[i];
    if (segment.base() >= to) break;
    RT_CO_ASSIGN_OR_RETURN(int64_t position, co_await PositionOf(segment, from));
    const int64_t end = segment.written_bytes;
    if (position >= end) continue;
    RT_CO_ASSIGN_OR_RETURN(const FilePin pin, co_await env_.files().Pin(segment.file()));
    HeaderReader reader(env_, pin, end);
    while (position < end) {
      if (!reader.Try(position)) RT_CO_RETURN_IF_ERROR(co_await reader.Load(position));
      if (reader.header().base_offset() >= to) co_return absl::OkStatus();
      position += static_cast<int64_t>(reader.header().size_bytes());
      if (reader.header().last_offset() >= from) visit(reader.header());
    }
  }
  co_return absl::OkStatus();
}

task::Task<absl::Status> Log::ReplayProducers() {
  co_await maintenance_.Lock();
  const absl::Status status = co_await Replay(/*clean=*/false);
  maintenance_.Unlock();
  co_return status;
}

}  // namespace ringtail::log
