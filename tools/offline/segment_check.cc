#include "tools/offline/segment_check.h"

#include <string.h>
#include <sys/stat.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/endian.h"
#include "engine/base/result.h"
#include "engine/log/batch.h"
#include "engine/log/journal/recovery_files.h"
#include "engine/log/offset_index.h"
#include "tools/offline/blocking_backend.h"
#include "tools/offline/file_window.h"

namespace ringtail::offline {
namespace {

// A batch behind damage is looked for within this many offsets: what is random is not read twice.
constexpr uint64_t kOffsetsAhead = uint64_t{1} << 32;
class SegmentWalk {
 public:
  SegmentWalk(const std::map<int64_t, Rewritten>& rewritten, SegmentState* segment, LogState* state)
      : rewritten_(rewritten),
        window_(segment->path, segment->bytes),
        segment_(segment),
        state_(state) {}

  void LoadIndex();
  // Bytes behind `limit`, unless they are zeros.
  int64_t Behind(int64_t limit) {
    return ZerosTo(limit, segment_->bytes) ? 0 : std::max<int64_t>(segment_->bytes - limit, 0);
  }
  // Batches up to `limit`. `exact`: they must end there; else zeros may follow the last one.
  // Returns the offset behind the last batch.
  uint64_t Run(uint64_t next_offset, int64_t limit, bool exact);

 private:
  std::optional<log::BatchView> BatchAt(int64_t position, uint64_t least, std::string* reason);
  bool Skip(int64_t* position, uint64_t* next_offset);
  int64_t FindBatch(int64_t position, int64_t limit, uint64_t least, uint64_t* base_offset);
  bool ZerosTo(int64_t position, int64_t limit);
  void CompareIndex(int64_t position, uint64_t last_offset);

  const std::map<int64_t, Rewritten>& rewritten_;
  FileWindow window_;
  SegmentState* segment_;
  LogState* state_;
  std::vector<log::IndexEntry> index_;
  size_t indexed_ = 0;  // entries of index_ that were compared
};

void SegmentWalk::LoadIndex() {
  const std::string path =
      absl::StrCat(segment_->path.substr(0, segment_->path.size() - 4), ".index");
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return;
  FileWindow file(path, info.st_size);
  const base::ByteView bytes = file.At(0, static_cast<size_t>(info.st_size));
  constexpr auto kEntry = static_cast<size_t>(log::kIndexEntryBytes);
  if (file.error() != 0) segment_->index_damage = absl::StrCat("read: ", strerror(file.error()));
  for (size_t at = 0; at + kEntry <= bytes.size(); at += kEntry) {
    const auto offset = base::LoadBe<int32_t>(bytes.data() + at);
    const auto position = base::LoadBe<int32_t>(bytes.data() + at + 4);
    // Preallocated: no entry is of the segment's first batch.
    if (position == 0) break;
    index_.push_back({base::Offset(static_cast<int64_t>(segment_->base)) + offset, position});
  }
}

void SegmentWalk::CompareIndex(int64_t position, uint64_t last_offset) {
  while (indexed_ < index_.size() && index_[indexed_].position <= position) {
    const log::IndexEntry& entry = index_[indexed_++];
    if (entry.position == position && static_cast<uint64_t>(entry.offset.value()) == last_offset) {
      continue;
    }
    if (!segment_->index_damage.empty()) continue;
    segment_->index_damage =
        absl::StrCat("entry ", indexed_ - 1, " says offset ", entry.offset.value(), " at byte ",
                     entry.position, ", where no such batch starts");
  }
}

std::optional<log::BatchView> SegmentWalk::BatchAt(int64_t position, uint64_t least,
                                                   std::string* reason) {
  const auto head = log::ParseBatchHeader(window_.At(position, log::kBatchHeaderBytes));
  auto error = head.error;
  if (head.ok()) {
    const auto batch = log::ParseBatch(window_.At(position, head.batch.size_bytes()));
    error = batch.error;
    if (batch.ok()) error = log::ValidateBatch(batch.batch, log::BatchRules::Verbatim());
    if (error == log::BatchError::kNone) {
      if (static_cast<uint64_t>(batch.batch.base_offset().value()) >= least) return batch.batch;
      *reason = absl::StrCat("its offset ", batch.batch.base_offset().value(), " is below ", least);
      return std::nullopt;
    }
  }
  *reason = window_.error() != 0 ? absl::StrCat("read: ", strerror(window_.error()))
                                 : std::string(log::BatchErrorText(error));
  return std::nullopt;
}

// Over what a start writes again. False: the byte is not in such a range.
bool SegmentWalk::Skip(int64_t* position, uint64_t* next_offset) {
  auto range = rewritten_.upper_bound(*position);
  if (range == rewritten_.begin()) return false;
  --range;
  if (range->second.end <= *position) return false;
  state_->bytes_rewritten += range->second.end - *position;
  *position = range->second.end;
  *next_offset = std::max(*next_offset, range->second.next_offset);
  return true;
}

// Where whole batches go on behind damage; `limit` if nowhere.
int64_t SegmentWalk::FindBatch(int64_t position, int64_t limit, uint64_t least,
                               uint64_t* base_offset) {
  std::string unused;
  for (int64_t at = position; at + static_cast<int64_t>(log::kBatchHeaderBytes) <= limit; ++at) {
    const base::ByteView head = window_.At(at, log::kBatchHeaderBytes);
    if (head.size() < log::kBatchHeaderBytes) continue;
    if (static_cast<int8_t>(head[log::kMagicAt]) != log::kBatchMagic) continue;
    const auto offset = base::LoadBe<uint64_t>(head.data() + log::kBaseOffsetAt);
    if (offset < least || offset - least > kOffsetsAhead) continue;
    const auto batch = BatchAt(at, least, &unused);
    if (!batch) continue;
    *base_offset = static_cast<uint64_t>(batch->base_offset().value());
    return at;
  }
  return limit;
}

bool SegmentWalk::ZerosTo(int64_t position, int64_t limit) {
  while (position < limit) {
    const base::ByteView bytes = window_.At(position, FileWindow::kBytes);
    if (bytes.empty()) return false;
    const size_t count = std::min(bytes.size(), static_cast<size_t>(limit - position));
    if (!std::all_of(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(count),
                     [](uint8_t byte) { return byte == 0; })) {
      return false;
    }
    position += static_cast<int64_t>(count);
  }
  return true;
}

uint64_t SegmentWalk::Run(uint64_t next_offset, int64_t limit, bool exact) {
  int64_t position = 0;
  bool whole = true;
  segment_->next_offset = next_offset;
  while (position < limit) {
    std::string reason;
    const auto batch = BatchAt(position, next_offset, &reason);
    if (batch && position + static_cast<int64_t>(batch->size_bytes()) <= limit) {
      CompareIndex(position, static_cast<uint64_t>(batch->last_offset().value()));
      ++segment_->batches;
      position += static_cast<int64_t>(batch->size_bytes());
      next_offset = static_cast<uint64_t>(batch->next_offset().value());
    } else if (!Skip(&position, &next_offset)) {
      if (!exact && ZerosTo(position, std::min(limit, segment_->bytes))) break;
      if (batch) reason = "it crosses the end of the log";
      uint64_t found = next_offset;
      const int64_t from = position;
      position = FindBatch(position + 1, std::min(limit, segment_->bytes), next_offset, &found);
      const bool goes_on = position < std::min(limit, segment_->bytes);
      if (!goes_on) position = limit;
      state_->damage.push_back({segment_->path, from, position, next_offset, found, reason});
      whole = false;
      next_offset = found;
      continue;
    }
    if (whole) {
      segment_->whole_bytes = position;
      segment_->next_offset = next_offset;
    }
  }
  if (whole) CompareIndex(INT64_MAX, UINT64_MAX);  // what is left is behind the last batch
  return next_offset;
}

// Up to where batches of the segment count.
int64_t LimitOf(const SegmentState& segment, bool last, const Proof& proof) {
  if (!proof.end) return segment.bytes;
  const auto rewritten = proof.rewritten.find(segment.base);
  const int64_t written =
      rewritten == proof.rewritten.end() ? 0 : rewritten->second.rbegin()->second.end;
  if (segment.base == proof.end->segment_base) {
    return proof.exact ? int64_t{proof.end->position}
                       : std::max(segment.bytes, int64_t{proof.end->position});
  }
  if (segment.base > proof.end->segment_base && proof.exact) return 0;
  return last ? segment.bytes : std::max(segment.bytes, written);
}

}  // namespace

absl::StatusOr<LogState> CheckLog(const std::string& directory, const Proof& proof) {
  BlockingBackend io;
  log::SegmentFiles files(io, directory);
  RT_RETURN_IF_ERROR(files.List());
  std::map<uint64_t, int64_t> sizes = files.sizes();
  for (const auto& [base, ranges] : proof.rewritten) sizes.try_emplace(base, 0);
  if (proof.end && proof.end->position > 0) sizes.try_emplace(proof.end->segment_base, 0);
  LogState state;
  uint64_t next_offset = sizes.empty() ? proof.log_start : sizes.begin()->first;
  if (proof.end && sizes.empty()) next_offset = proof.end->offset;
  state.start = std::max(proof.log_start, next_offset);
  state.whole = {next_offset, next_offset, 0};
  if (next_offset > proof.log_start && proof.end && next_offset != proof.end->offset) {
    state.damage.push_back({files.PathOf(proof.log_start), 0, 0, proof.log_start, next_offset,
                            "the log starts here, and there is no such segment"});
  }
  for (auto each = sizes.begin(); each != sizes.end(); ++each) {
    const bool last = std::next(each) == sizes.end();
    SegmentState segment;
    segment.base = each->first;
    segment.path = files.PathOf(each->first);
    segment.bytes = each->second;
    const int64_t limit = LimitOf(segment, last, proof);
    const bool behind = proof.end && proof.exact && segment.base > proof.end->segment_base;
    if (!behind && segment.base > next_offset) {
      state.damage.push_back({segment.path, 0, 0, next_offset, segment.base,
                              "what should lie before this segment is in none"});
      next_offset = segment.base;
    }
    static const std::map<int64_t, Rewritten> kNone;
    const auto rewritten = proof.rewritten.find(segment.base);
    SegmentWalk walk(rewritten == proof.rewritten.end() ? kNone : rewritten->second, &segment,
                     &state);
    if (segment.base < proof.indexes_below) walk.LoadIndex();
    const bool clean = state.damage.empty();
    const bool proven = proof.end && segment.base <= proof.end->segment_base;
    const bool exact = proof.end ? proof.exact && proven : !last;
    if (!behind) {
      next_offset = walk.Run(next_offset, limit, exact);
      if (clean)
        state.whole = {segment.next_offset, segment.base,
                       static_cast<uint32_t>(segment.whole_bytes)};
    }
    state.bytes_behind += walk.Behind(behind ? 0 : limit);
    state.segments.push_back(std::move(segment));
  }
  state.end = next_offset;
  // What nothing follows was the rest of the log.
  if (!state.damage.empty() && proof.end) {
    Damage& last = state.damage.back();
    if (last.next_offset == last.first_offset && last.first_offset == state.end) {
      last.next_offset = std::max(state.end, proof.end->offset);
    }
  }
  return state;
}

}  // namespace ringtail::offline
