#include "tools/offline/accept.h"

#include <errno.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/base/result.h"
#include "engine/io/file.h"
#include "engine/log/data_directory.h"
#include "engine/log/epoch_cache.h"
#include "engine/log/journal/journal_checkpoint.h"
#include "tools/offline/copy_file.h"

namespace ringtail::offline {
namespace {

constexpr uint32_t kClosedFlags = log::kRecordPoisoned | log::kRecordRefused | log::kRecordSuspect;
constexpr int64_t kEpochFileBytesMax = 16 << 20;

bool IsOf(const log::CheckpointRecord& record, const PartitionFacts& facts) {
  return record.topic_id == *facts.topic_id && record.partition == facts.partition;
}

bool IsOf(const log::EntryHeader& entry, const PartitionFacts& facts) {
  return entry.topic_id == *facts.topic_id && entry.partition == facts.partition;
}

// Damage, what is readable behind it, and what only entries tell of, in the order of offsets.
std::vector<LostRange> LostRanges(const PartitionFacts& facts, const PartitionReport& report,
                                  const AcceptPlan& plan) {
  std::vector<LostRange> lost;
  uint64_t at = plan.end.offset;
  const auto add = [&](uint64_t next, std::string what) {
    if (next <= at) return;
    lost.push_back({at, next, std::move(what)});
    at = next;
  };
  for (const Damage& damage : report.log->damage) {
    if (damage.next_offset <= at) continue;
    add(damage.first_offset, absl::StrCat("readable, set aside in ", plan.set_aside));
    add(damage.next_offset, absl::StrCat("damaged: ", damage.path, ", bytes ", damage.from, " to ",
                                         damage.to, ": ", damage.reason));
  }
  add(report.log->end, absl::StrCat("readable, set aside in ", plan.set_aside));
  uint64_t known = report.proof.end ? report.proof.end->offset : 0;
  if (facts.record && facts.record->offset != log::kRecordEndUnknown) {
    known = std::max(known, facts.record->offset);
  }
  for (const log::ScannedEntry* each : facts.entries) {
    known = std::max(known, each->entry.end_offset);
  }
  add(known, "in no segment");
  return lost;
}

// In a segment that has something, where there is one.
log::LogEnd EndOf(const LogState& log) {
  log::LogEnd end = log.whole;
  const SegmentState* before = nullptr;
  for (const SegmentState& segment : log.segments) {
    if (segment.base < end.segment_base && segment.whole_bytes > 0) before = &segment;
  }
  if (end.position == 0 && before != nullptr) {
    end.segment_base = before->base;
    end.position = static_cast<uint32_t>(before->whole_bytes);
  }
  return end;
}

absl::Status LinkInto(const std::string& directory, const std::string& path) {
  const std::string to = absl::StrCat(directory, path.substr(path.rfind('/')));
  if (link(path.c_str(), to.c_str()) == 0 || errno == EEXIST) return absl::OkStatus();
  return io::ErrnoStatus(errno, "link", to);
}

absl::Status Remove(const std::string& path) {
  if (unlink(path.c_str()) == 0 || errno == ENOENT) return absl::OkStatus();
  return io::ErrnoStatus(errno, "unlink", path);
}

absl::Status RemoveIndexes(const std::string& segment) {
  const std::string stem = segment.substr(0, segment.size() - 4);
  for (const char* suffix : {".index", ".timeindex", ".txnindex"}) {
    RT_RETURN_IF_ERROR(Remove(stem + suffix));
  }
  return absl::OkStatus();
}

// What follows from batches that are gone: epochs and producers behind the end.
absl::Status CutMetadata(BlockingBackend& io, const PartitionFacts& facts, const AcceptPlan& plan) {
  const std::string path = absl::StrCat(facts.directory, "/", log::kEpochCheckpointFile);
  const auto text = RunBlocking(io, io::ReadWholeFile(io, path, kEpochFileBytesMax));
  if (text.ok()) {
    auto epochs = log::EpochCache::Decode(*text);
    if (!epochs.ok()) {
      RT_RETURN_IF_ERROR(Remove(path));
    } else if (epochs->TruncateFromEnd(base::Offset(static_cast<int64_t>(plan.end.offset)))) {
      RT_RETURN_IF_ERROR(RunBlocking(io, io::ReplaceFile(io, path, epochs->Encode())));
    }
  }
  RT_ASSIGN_OR_RETURN(const auto names, io.ListDirectory(facts.directory));
  for (const io::DirectoryEntry& entry : names) {
    uint64_t offset = 0;
    if (!absl::EndsWith(entry.name, ".snapshot")) continue;
    if (!absl::SimpleAtoi(entry.name.substr(0, entry.name.size() - 9), &offset)) continue;
    if (offset <= plan.end.offset) continue;
    RT_RETURN_IF_ERROR(Remove(absl::StrCat(facts.directory, "/", entry.name)));
  }
  return absl::OkStatus();
}

// The files as they are get a second name first; then the log loses what is behind its end, last
// segment first.
absl::Status CutFiles(BlockingBackend& io, const DataDir& dir, const PartitionFacts& facts,
                      const PartitionReport& report, const AcceptPlan& plan) {
  RT_RETURN_IF_ERROR(RunBlocking(io, io::MakeDirectory(io, plan.set_aside)));
  const std::vector<SegmentState>& segments = report.log->segments;
  const auto touched = [&](const SegmentState& segment) {
    return segment.bytes > 0 && segment.base >= plan.end.segment_base;
  };
  for (const SegmentState& segment : segments) {
    if (touched(segment)) RT_RETURN_IF_ERROR(LinkInto(plan.set_aside, segment.path));
  }
  RT_RETURN_IF_ERROR(RunBlocking(io, io::SyncDirectory(io, plan.set_aside)));
  RT_RETURN_IF_ERROR(RunBlocking(io, io::SyncDirectory(io, dir.path)));
  for (auto segment = segments.rbegin(); segment != segments.rend(); ++segment) {
    if (segment->base < plan.end.segment_base) break;
    RT_RETURN_IF_ERROR(RemoveIndexes(segment->path));
    if (segment->base > plan.end.segment_base || plan.end.position == 0) {
      RT_RETURN_IF_ERROR(Remove(segment->path));
    } else {
      const std::string made = segment->path + ".tmp";
      RT_RETURN_IF_ERROR(CopyFile(segment->path, made, plan.end.position));
      RT_RETURN_IF_ERROR(RunBlocking(io, io::Rename(io, made, segment->path)));
    }
    RT_RETURN_IF_ERROR(RunBlocking(io, io::SyncDirectory(io, facts.directory)));
  }
  RT_RETURN_IF_ERROR(CutMetadata(io, facts, plan));
  return RunBlocking(io, io::SyncDirectory(io, facts.directory));
}

// Held files that another closed partition still needs.
std::vector<log::HeldFile> StillHeld(const CoreState& core, const PartitionFacts& facts) {
  std::vector<log::HeldFile> kept;
  for (const log::HeldFile& held : core.checkpoint().held) {
    bool needed = false;
    for (const log::ScannedEntry& each : core.scan.entries) {
      const log::JournalFileFound& file = core.scan.files[each.file];
      needed = needed || (file.run == held.run && file.core == held.core &&
                          file.number == held.file_number && !IsOf(each.entry, facts));
    }
    if (needed) kept.push_back(held);
  }
  return kept;
}

absl::Status WriteCheckpoint(BlockingBackend& io, const DataDir& dir, const PartitionFacts& facts,
                             const AcceptPlan& plan) {
  const CoreState& core = *facts.core;
  log::Checkpoint checkpoint = core.checkpoint();
  for (log::CheckpointRecord& record : checkpoint.records) {
    if (!IsOf(record, facts)) continue;
    // The seqs of a closed partition's record may be of an earlier run.
    if ((record.flags & kClosedFlags) != 0) record.sync_seq = 0;
    for (const log::ScannedEntry& each : core.scan.entries) {
      if (each.run != dir.manifest->run || !IsOf(each.entry, facts)) continue;
      record.sync_seq = std::max(record.sync_seq, each.seq);
    }
    record.flags &= ~kClosedFlags;
    record.offset = plan.end.offset;
    record.segment_base = plan.end.segment_base;
    record.position = plan.end.position;
    record.log_start = std::min(record.log_start, plan.end.offset);
  }
  checkpoint.held = StillHeld(core, facts);
  uint64_t number = 0;
  for (const auto& slot : core.slots) {
    if (slot.ok()) number = std::max(number, slot->header.number);
  }
  log::CheckpointWriter writer(io, core.directory, 1 - *core.newest, number + 1);
  return RunBlocking(io, writer.Write(std::move(checkpoint)));
}

}  // namespace

absl::StatusOr<AcceptPlan> PlanAccept(const DataDir& dir, const PartitionFacts& facts,
                                      const PartitionReport& report) {
  if (!dir.refusals.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat(dir.refusals.front(),
                     ": no broker starts like this; see the runbook, and put that right first"));
  }
  if (facts.directory.empty() || !facts.topic_id.ok() || !facts.same_id.empty() ||
      facts.cores > 1 || !report.log) {
    return absl::FailedPreconditionError(
        absl::StrCat(facts.name, ": accept cannot settle this: ", report.reason,
                     report.findings.empty() ? "" : report.findings.front().what, "; ",
                     report.advice, report.findings.empty() ? "" : report.findings.front().advice));
  }
  const uint32_t flags = facts.record ? facts.record->flags : 0;
  const bool refused = (flags & log::kRecordRefused) != 0;
  const bool starts_first =
      (flags & log::kRecordPoisoned) != 0 || (!refused && !facts.entries.empty());
  if (starts_first) {
    return absl::FailedPreconditionError(absl::StrCat(
        facts.name, ": the journal has ", facts.entries.size(),
        " entries for it, which the next start writes again; start the broker, and come back if it "
        "still closes the partition"));
  }
  const LogState& log = *report.log;
  const bool short_of_end = report.proof.end && log.end < report.proof.end->offset;
  if (!refused && log.damage.empty() && !short_of_end) {
    return absl::FailedPreconditionError(
        absl::StrCat(facts.name, ": its batches are whole, there is nothing to accept",
                     report.findings.empty() ? "" : "; " + report.findings.front().advice));
  }
  AcceptPlan plan;
  plan.end = EndOf(log);
  plan.set_aside = absl::StrCat(facts.directory, ".at-", plan.end.offset, ".set-aside");
  for (const SegmentState& segment : log.segments) {
    if (segment.bytes == 0) continue;
    const bool here = segment.base == plan.end.segment_base;
    plan.cuts |= segment.base > plan.end.segment_base ||
                 (here && segment.bytes > int64_t{plan.end.position});
  }
  plan.lost = LostRanges(facts, report, plan);
  return plan;
}

absl::Status Accept(BlockingBackend& io, const DataDir& dir, const PartitionFacts& facts,
                    const PartitionReport& report, const AcceptPlan& plan) {
  if (plan.cuts) RT_RETURN_IF_ERROR(CutFiles(io, dir, facts, report, plan));
  if (!facts.record) return absl::OkStatus();
  return WriteCheckpoint(io, dir, facts, plan);
}

}  // namespace ringtail::offline
