#include "engine/log/journal/recovery_chain.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"

namespace ringtail::log {
namespace {

LogEnd PlaceOf(const EntryHeader& entry) {
  return {entry.base_offset, entry.segment_base, entry.position};
}

LogEnd EndOf(const EntryHeader& entry) {
  LogEnd end = {entry.end_offset, entry.segment_base, entry.position};
  end.position += entry.payload_bytes;
  return end;
}

EntryType TypeOf(const ScannedEntry& each) { return static_cast<EntryType>(each.entry.type); }

bool Below(const LogEnd& a, const LogEnd& b) {
  return a.segment_base != b.segment_base ? a.segment_base < b.segment_base
                                          : a.position < b.position;
}

std::string Text(const LogEnd& end) {
  return absl::StrCat("offset ", end.offset, " (byte ", end.position, " of segment ",
                      end.segment_base, ")");
}

class Follower {
 public:
  Follower(SegmentEvidence& evidence, const std::vector<SeqRange>& lost)
      : evidence_(evidence), lost_(lost) {}

  void Begin(const CheckpointRecord& record) {
    chain_.page_cache = (record.flags & kRecordPageCache) != 0;
    chain_.log_start = record.log_start;
    chain_.leader_epoch = record.leader_epoch;
    StartAt({record.offset, record.segment_base, record.position});
  }
  task::Task<void> Take(const ScannedEntry* each);
  Chain Finish(uint64_t last_seq, uint64_t synced_seq);

 private:
  void StartAt(const LogEnd& end);
  void MoveTo(const LogEnd& end);
  task::Task<void> Append(const ScannedEntry* each);
  void Truncate(const EntryHeader& entry);
  void Refuse(std::string reason);
  bool LostBefore(uint64_t seq) const {
    return std::any_of(lost_.begin(), lost_.end(), [&](const SeqRange& range) {
      return range.first < seq && range.last > last_seq_;
    });
  }

  SegmentEvidence& evidence_;
  const std::vector<SeqRange>& lost_;
  Chain chain_;
  uint64_t last_seq_ = 0;
};

// What was known before is void: all below is in its place, and synced.
void Follower::StartAt(const LogEnd& end) {
  chain_.has_end = true;
  chain_.start = chain_.lowest = chain_.end = end;
  chain_.writes.clear();
  chain_.lengths.clear();
  chain_.lengths[end.segment_base] = end.position;
}

void Follower::MoveTo(const LogEnd& end) {
  chain_.end = end;
  chain_.lengths[end.segment_base] = end.position;
}

void Follower::Refuse(std::string reason) {
  chain_.refused = true;
  chain_.reason = std::move(reason);
}

task::Task<void> Follower::Append(const ScannedEntry* each) {
  const EntryHeader& entry = each->entry;
  const LogEnd place = PlaceOf(entry);
  if (!chain_.has_end) StartAt(place);
  const LogEnd& end = chain_.end;
  const bool continues =
      entry.base_offset >= end.offset &&
      ((entry.segment_base == end.segment_base && entry.position == end.position) ||
       (entry.position == 0 && entry.segment_base >= end.offset &&
        entry.segment_base <= entry.base_offset &&
        (entry.segment_base > end.segment_base || end.position == 0)));
  // A leap in offsets is one in the log, unless frames are lost that may have had what lies
  // between.
  const bool lost = LostBefore(each->seq);
  const bool leaps = entry.segment_base != end.segment_base && entry.segment_base != end.offset;
  if (!continues || (lost && leaps)) {
    if (!lost || !co_await evidence_.Connects(end, place, &chain_.lengths)) {
      Refuse(absl::StrCat("the journal leads to ", Text(end), " and goes on at ", Text(place),
                          lost ? ": a damaged frame had what lies between, and the segments do "
                                 "not have it"
                               : ", without what lies between"));
      co_return;
    }
    ++chain_.healed;
  }
  if (!each->whole) {
    if (!co_await evidence_.Holds(entry)) {
      Refuse(absl::StrCat("the entry for ", Text(place),
                          " is damaged in the journal, and the segment does not have its bytes"));
      co_return;
    }
    ++chain_.healed;
  }
  chain_.writes.push_back(each);
  MoveTo(EndOf(entry));
}

void Follower::Truncate(const EntryHeader& entry) {
  const LogEnd end = {entry.end_offset, entry.segment_base, entry.position};
  if ((entry.flags & kTruncateStartFresh) != 0) {
    StartAt(end);
    chain_.log_start = end.offset;
    return;
  }
  if (!chain_.has_end) StartAt(end);
  if (Below(end, chain_.lowest)) chain_.lowest = end;
  std::erase_if(chain_.writes,
                [&](const ScannedEntry* each) { return !Below(PlaceOf(each->entry), end); });
  chain_.lengths.erase(chain_.lengths.upper_bound(end.segment_base), chain_.lengths.end());
  MoveTo(end);
}

task::Task<void> Follower::Take(const ScannedEntry* each) {
  if (chain_.refused) co_return;
  const EntryHeader& entry = each->entry;
  switch (TypeOf(*each)) {
    case EntryType::kAppend:
      co_await Append(each);
      chain_.ends_cut = false;
      chain_.leader_epoch = std::max(chain_.leader_epoch, entry.leader_epoch);
      break;
    case EntryType::kInPlace:
      StartAt({entry.end_offset, entry.segment_base, entry.position});
      chain_.page_cache = (entry.flags & kInPlacePageCache) != 0;
      chain_.ends_cut = false;
      chain_.released = (entry.flags & kInPlaceReleased) != 0;
      chain_.leader_epoch = std::max(chain_.leader_epoch, entry.leader_epoch);
      break;
    case EntryType::kTruncate:
      Truncate(entry);
      chain_.ends_cut = true;
      break;
    case EntryType::kTrim:
      chain_.log_start = std::max(chain_.log_start, entry.base_offset);
      break;
    case EntryType::kDrop:
      chain_.dropped = true;
      break;
    case EntryType::kEpoch:
      chain_.leader_epoch = std::max(chain_.leader_epoch, entry.leader_epoch);
      break;
  }
  last_seq_ = each->seq;
}

// A frame that is lost behind the last entry may have had more.
Chain Follower::Finish(uint64_t last_seq, uint64_t synced_seq) {
  for (const SeqRange& range : lost_) {
    if (chain_.refused || chain_.dropped || range.last <= std::max(last_seq, synced_seq)) continue;
    chain_.suspect = true;
    chain_.reason =
        absl::StrCat("frames ", range.first, " to ",
                     range.last == UINT64_MAX ? std::string("the end") : absl::StrCat(range.last),
                     " of the journal are lost, and may have had more than ", Text(chain_.end));
  }
  return std::move(chain_);
}

}  // namespace

task::Task<absl::StatusOr<Chain>> FollowChain(std::optional<CheckpointRecord> record,
                                              std::vector<const ScannedEntry*> entries,
                                              const std::vector<SeqRange>& lost,
                                              SegmentEvidence& evidence) {
  Follower follower(evidence, lost);
  if (record.has_value()) follower.Begin(*record);
  // Before an IN_PLACE nothing is missing that counts: what the entries before it cannot connect
  // is void.
  auto last_in_place = entries.end();
  for (auto each = entries.begin(); each != entries.end(); ++each) {
    if ((*each)->entry.type == 0 || (*each)->entry.type > kEntryTypeMax) {
      co_return absl::UnimplementedError(
          absl::StrCat("the journal has an entry of type ", (*each)->entry.type,
                       ", which this version does not know; start the version that wrote it"));
    }
    const EntryType type = TypeOf(**each);
    const bool fresh =
        type == EntryType::kTruncate && ((*each)->entry.flags & kTruncateStartFresh) != 0;
    if (type == EntryType::kInPlace || fresh) last_in_place = each;
  }
  for (auto each = entries.begin(); each != entries.end(); ++each) {
    const EntryType type = TypeOf(**each);
    const bool moves = type == EntryType::kAppend || type == EntryType::kTruncate;
    if (last_in_place != entries.end() && each < last_in_place && moves) continue;
    co_await follower.Take(*each);
  }
  const uint64_t last_seq = entries.empty() ? 0 : entries.back()->seq;
  co_return follower.Finish(last_seq, record.has_value() ? record->sync_seq : 0);
}

}  // namespace ringtail::log
