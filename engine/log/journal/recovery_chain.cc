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
    last_seq_ = record.sync_seq;
    StartAt({record.offset, record.segment_base, record.position});
  }
  // Of a partition without a record: where its entries say that it was trimmed to.
  void set_trimmed_to(uint64_t offset) { trimmed_to_ = offset; }
  void CutStart(const EntryHeader& entry) {
    chain_.log_start = StartAfterCut(entry, chain_.log_start);
  }
  task::Task<void> Take(const ScannedEntry* each);
  Chain Finish(uint64_t last_seq, uint64_t synced_seq);

 private:
  void StartAt(const LogEnd& end);
  void MoveTo(const LogEnd& end);
  task::Task<void> Append(const ScannedEntry* each);
  task::Task<void> Truncate(const ScannedEntry* each);
  task::Task<void> BeginWithoutRecord(uint64_t seq, const LogEnd& place);
  task::Task<void> Bridge(const LogEnd& place, bool lost);
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
  uint64_t trimmed_to_ = 0;
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

// From the chain's end to where it goes on there is a gap: healed if the segments fill it.
task::Task<void> Follower::Bridge(const LogEnd& place, bool lost) {
  if (lost && co_await evidence_.Connects(chain_.end, place, &chain_.lengths)) {
    ++chain_.healed;
    co_return;
  }
  Refuse(absl::StrCat("the journal leads to ", Text(chain_.end), " and goes on at ", Text(place),
                      lost ? ": a damaged frame had what lies between, and the segments do "
                             "not have it"
                           : ", without what lies between"));
}

// It was empty before its first entry, at any offset, unless a frame is lost that may have had
// more: then all from offset 0 on must be in the segments, or below the log's start.
task::Task<void> Follower::BeginWithoutRecord(uint64_t seq, const LogEnd& place) {
  const bool empty_before = place.offset == 0 && place.position == 0;
  if (!LostBefore(seq) || empty_before || trimmed_to_ >= place.offset) {
    StartAt(place);
    if (place.position == 0) chain_.log_start = std::max(chain_.log_start, place.segment_base);
    co_return;
  }
  StartAt({});
  co_await Bridge(place, true);
  if (!chain_.refused) MoveTo(place);
}

task::Task<void> Follower::Append(const ScannedEntry* each) {
  const EntryHeader& entry = each->entry;
  const LogEnd place = PlaceOf(entry);
  if (!chain_.has_end) co_await BeginWithoutRecord(each->seq, place);
  if (chain_.refused) co_return;
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
    co_await Bridge(place, lost);
  } else if (end == LogEnd{}) {  // it was empty: it begins where this does
    chain_.log_start = std::max(chain_.log_start, entry.segment_base);
  }
  if (chain_.refused) co_return;
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

task::Task<void> Follower::Truncate(const ScannedEntry* each) {
  const EntryHeader& entry = each->entry;
  const LogEnd end = {entry.end_offset, entry.segment_base, entry.position};
  CutStart(entry);
  if ((entry.flags & kTruncateStartFresh) != 0) {
    StartAt(end);
    co_return;
  }
  if (!chain_.has_end) co_await BeginWithoutRecord(each->seq, end);
  // What a page_cache log appended since is in no entry.
  if (!chain_.refused && !chain_.page_cache && end.offset > chain_.end.offset) {
    co_await Bridge(end, LostBefore(each->seq));
  }
  if (chain_.refused) co_return;
  if (Below(end, chain_.lowest)) chain_.lowest = end;
  std::erase_if(chain_.writes,
                [&](const ScannedEntry* write) { return !Below(PlaceOf(write->entry), end); });
  chain_.lengths.erase(chain_.lengths.upper_bound(end.segment_base), chain_.lengths.end());
  MoveTo(end);
}

task::Task<void> Follower::Take(const ScannedEntry* each) {
  if (chain_.refused) co_return;
  const EntryHeader& entry = each->entry;
  chain_.log_start = std::max(chain_.log_start, StartTold(entry));
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
      co_await Truncate(each);
      chain_.ends_cut = true;
      break;
    case EntryType::kTrim:
      chain_.log_start = std::max(chain_.log_start, entry.base_offset);
      break;
    case EntryType::kDrop:
      break;  // FollowChain has seen it
    case EntryType::kEpoch:
      chain_.leader_epoch = std::max(chain_.leader_epoch, entry.leader_epoch);
      break;
  }
  last_seq_ = each->seq;
}

// A frame that is lost behind the last entry may have had more.
Chain Follower::Finish(uint64_t last_seq, uint64_t synced_seq) {
  for (const SeqRange& range : lost_) {
    chain_.lossy = chain_.lossy || range.last > synced_seq;
    if (range.last <= std::max(last_seq, synced_seq)) continue;
    chain_.suspect = true;
    if (chain_.refused) continue;
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
  // is void. So is all before a DROP, whatever is lost.
  auto last_in_place = entries.end();
  uint64_t trimmed_to = 0;
  for (auto each = entries.begin(); each != entries.end(); ++each) {
    if ((*each)->entry.type == 0 || (*each)->entry.type > kEntryTypeMax) {
      co_return absl::UnimplementedError(
          absl::StrCat("the journal has an entry of type ", (*each)->entry.type,
                       ", which this version does not know; start the version that wrote it"));
    }
    const EntryType type = TypeOf(**each);
    if (type == EntryType::kDrop) {
      Chain gone;
      gone.dropped = true;
      co_return gone;
    }
    const bool cut = type == EntryType::kTruncate;
    const bool fresh = cut && ((*each)->entry.flags & kTruncateStartFresh) != 0;
    if (type == EntryType::kInPlace || fresh) last_in_place = each;
    trimmed_to = std::max(trimmed_to, StartTold((*each)->entry));
    if (type == EntryType::kTrim) trimmed_to = std::max(trimmed_to, (*each)->entry.base_offset);
    if (cut) trimmed_to = StartAfterCut((*each)->entry, trimmed_to);
  }
  follower.set_trimmed_to(trimmed_to);
  for (auto each = entries.begin(); each != entries.end(); ++each) {
    const EntryType type = TypeOf(**each);
    const bool moves = type == EntryType::kAppend || type == EntryType::kTruncate;
    if (last_in_place != entries.end() && each < last_in_place && moves) {
      if (type == EntryType::kTruncate) follower.CutStart((*each)->entry);
      continue;
    }
    co_await follower.Take(*each);
  }
  const uint64_t last_seq = entries.empty() ? 0 : entries.back()->seq;
  co_return follower.Finish(last_seq, record.has_value() ? record->sync_seq : 0);
}

}  // namespace ringtail::log
