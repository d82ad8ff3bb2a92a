#include "tools/offline/verify.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "engine/base/endian.h"
#include "engine/io/file.h"
#include "engine/log/data_directory.h"
#include "engine/log/epoch_cache.h"
#include "engine/log/journal/recovery_files.h"
#include "engine/log/time_index.h"
#include "tools/cli/dump.h"

namespace ringtail::offline {
namespace {

constexpr int64_t kSmallFileBytesMax = 256 << 20;

std::string AcceptAdvice(const DataDir& dir, const PartitionFacts& facts) {
  return absl::StrCat(
      "put its files back from a copy, or go on without what is lost: ringtail log ", "accept ",
      dir.path, " ", facts.name);
}

void Refuse(PartitionReport* report, Verdict verdict, std::string reason, std::string advice) {
  report->verdict = verdict;
  report->reason = std::move(reason);
  report->advice = std::move(advice);
}

Proof ProofOfRecord(const log::CheckpointRecord& record) {
  Proof proof;
  proof.log_start = record.log_start;
  if (record.offset == log::kRecordEndUnknown) return proof;
  proof.end = log::LogEnd{record.offset, record.segment_base, record.position};
  proof.exact = true;
  return proof;
}

// As recovery judges: the journal's entries on top of the checkpoint's record.
Proof ProofOfChain(BlockingBackend& io, const DataDir& dir, const PartitionFacts& facts,
                   PartitionReport* report) {
  Proof proof;
  log::SegmentFiles files(io, facts.directory);
  const absl::Status listed = files.List();
  auto chain =
      RunBlocking(io, log::FollowChain(facts.record, facts.entries, facts.core->scan.lost, files));
  if (!listed.ok() || !chain.ok()) {
    const absl::Status& why = listed.ok() ? chain.status() : listed;
    Refuse(report, Verdict::kRefused, std::string(why.message()), AcceptAdvice(dir, facts));
    return proof;
  }
  proof.log_start = chain->log_start;
  if (chain->has_end) {
    proof.end = chain->end;
    proof.exact = !chain->page_cache || chain->ends_cut;
    proof.indexes_below = std::min(chain->start.segment_base, chain->lowest.segment_base);
  }
  for (const log::ScannedEntry* each : chain->writes) {
    if (!each->whole) continue;
    const log::EntryHeader& entry = each->entry;
    proof.rewritten[entry.segment_base][entry.position] = {
        int64_t{entry.position} + entry.payload_bytes, entry.end_offset};
  }
  if (chain->healed > 0) {
    report->notes.push_back(absl::StrCat(chain->healed,
                                         " damaged entries of the journal: the "
                                         "segments have what they had"));
  }
  if (chain->refused || chain->suspect) {
    proof.exact = false;
    Refuse(report, chain->refused ? Verdict::kRefused : Verdict::kSuspect, chain->reason,
           absl::StrCat("start the broker, which closes this partition alone; then ",
                        AcceptAdvice(dir, facts)));
  }
  return proof;
}

Proof ProofOf(BlockingBackend& io, const DataDir& dir, const PartitionFacts& facts,
              PartitionReport* report) {
  if (facts.core == nullptr) {
    const bool lost = std::any_of(dir.cores.begin(), dir.cores.end(), [](const auto& core) {
      return !core->scan.lost.empty() || !core->newest;
    });
    if (lost) {
      Refuse(report, Verdict::kSuspect,
             "frames of a journal are lost that may have had records of it, and nothing else tells",
             "compare its end with what its producers and consumers know; put the data directory "
             "back from a copy if it is short");
    }
    return {};
  }
  const uint32_t flags = facts.record ? facts.record->flags : 0;
  if ((flags & log::kRecordRefused) != 0) {
    const bool suspect = (flags & log::kRecordSuspect) != 0;
    Refuse(report, suspect ? Verdict::kSuspect : Verdict::kRefused,
           absl::StrCat("the broker closed it for appends; it is readable ",
                        facts.record->offset == log::kRecordEndUnknown
                            ? std::string("as far as its batches go")
                            : absl::StrCat("up to offset ", facts.record->offset),
                        suspect ? "; a lost part of a journal may have had more" : ""),
           AcceptAdvice(dir, facts));
    Proof proof = ProofOfRecord(*facts.record);
    proof.exact = false;
    return proof;
  }
  if ((flags & log::kRecordPoisoned) != 0) {
    report->notes.push_back(
        absl::StrCat("a write or sync of it failed (poisoned); the next start writes ",
                     facts.entries.size(), " entries of the journal again"));
  } else if (dir.clean() && facts.record) {
    return ProofOfRecord(*facts.record);
  }
  return ProofOfChain(io, dir, facts, report);
}

// The end of a log that nothing vouches for may be torn: a start cuts it, as Kafka does.
bool IsTornTail(const Damage& damage, const LogState& log, const Proof& proof, bool clean) {
  return !clean && !(proof.end && proof.exact) && !log.segments.empty() &&
         damage.path == log.segments.back().path && damage.to >= log.segments.back().bytes &&
         (!proof.end || damage.first_offset >= proof.end->offset);
}

void CheckBatches(const DataDir& dir, const PartitionFacts& facts, bool clean,
                  PartitionReport* report) {
  auto log = CheckLog(facts.directory, report->proof);
  if (!log.ok()) {
    report->Worsen(Verdict::kDamaged);
    report->findings.push_back({facts.directory, 0, 0, 0, 0, std::string(log.status().message()),
                                AcceptAdvice(dir, facts)});
    return;
  }
  for (const Damage& damage : log->damage) {
    if (IsTornTail(damage, *log, report->proof, clean)) {
      report->notes.push_back(absl::StrCat(damage.path, ": ", damage.to - damage.from,
                                           " bytes behind byte ", damage.from,
                                           " are no whole batch; the next start cuts them"));
      continue;
    }
    report->Worsen(Verdict::kDamaged);
    report->findings.push_back({damage.path, damage.from, damage.to, damage.first_offset,
                                damage.next_offset, damage.reason, AcceptAdvice(dir, facts)});
  }
  const std::optional<log::LogEnd>& end = report->proof.end;
  if (end && log->damage.empty() && log->end < end->offset) {
    report->Worsen(Verdict::kDamaged);
    report->findings.push_back({facts.directory, 0, 0, log->end, end->offset,
                                "the log ends before its proven end", AcceptAdvice(dir, facts)});
  }
  if (log->bytes_rewritten > 0) {
    report->notes.push_back(absl::StrCat(log->bytes_rewritten,
                                         " bytes are written again from the journal by the next "
                                         "start"));
  }
  if (log->bytes_behind > 0) {
    report->notes.push_back(absl::StrCat(
        log->bytes_behind, " bytes behind the proven end: ",
        clean ? "another program appended them" : "never acknowledged, the next start cuts them"));
  }
  report->log = *std::move(log);
}

// Of a time index that is well formed.
std::string BehindTheEnd(const SegmentState& segment, const std::string& index, size_t entries) {
  const auto* last = base::AsBytes(index).data() + entries * log::kTimeEntryBytes - 4;
  const uint64_t offset = segment.base + base::LoadBe<uint32_t>(last);
  if (offset < segment.next_offset) return "";
  return absl::StrCat("entry ", entries - 1, " is of offset ", offset, ", and the segment ends at ",
                      segment.next_offset);
}

void CheckIndexes(BlockingBackend& io, PartitionReport* report) {
  const std::string advice =
      "remove the file while no broker runs: it is made anew from the batches";
  for (const SegmentState& segment : report->log->segments) {
    const std::string stem = segment.path.substr(0, segment.path.size() - 4);
    if (!segment.index_damage.empty()) {
      report->Worsen(Verdict::kDamaged);
      report->findings.push_back({stem + ".index", 0, 0, 0, 0, segment.index_damage, advice});
    }
    if (segment.base >= report->proof.indexes_below) continue;
    const std::string path = stem + ".timeindex";
    const auto text = RunBlocking(io, io::ReadWholeFile(io, path, kSmallFileBytesMax));
    if (absl::IsNotFound(text.status())) continue;
    std::string what(text.status().message());
    if (text.ok()) {
      const auto read =
          cli::DumpIndex(base::AsBytes(*text), cli::DumpKind::kTimeIndex,
                         static_cast<int64_t>(segment.base), {}, [](absl::string_view) {});
      what = read.damage;
      if (what.empty() && read.batches > 0 && segment.batches > 0 && report->log->damage.empty()) {
        what = BehindTheEnd(segment, *text, static_cast<size_t>(read.batches));
      }
    }
    if (what.empty()) continue;
    report->Worsen(Verdict::kDamaged);
    report->findings.push_back({path, 0, 0, 0, 0, what, advice});
  }
}

void CheckSmallFiles(BlockingBackend& io, const PartitionFacts& facts, PartitionReport* report) {
  const std::string path = absl::StrCat(facts.directory, "/", log::kEpochCheckpointFile);
  const auto text = RunBlocking(io, io::ReadWholeFile(io, path, kSmallFileBytesMax));
  if (text.ok()) {
    const auto epochs = log::EpochCache::Decode(*text);
    if (!epochs.ok()) {
      report->Worsen(Verdict::kDamaged);
      report->findings.push_back(
          {path, 0, 0, 0, 0, std::string(epochs.status().message()),
           "remove the file while no broker runs: the batches tell the same"});
    }
  }
  const auto names = io.ListDirectory(facts.directory);
  if (!names.ok()) return;
  for (const io::DirectoryEntry& entry : *names) {
    if (!absl::EndsWith(entry.name, ".swap")) continue;
    report->Worsen(Verdict::kRefused);
    report->reason =
        absl::StrCat(facts.directory, "/", entry.name, ": a compaction of it was cut short");
    report->advice = "start and stop the broker, which finishes it, and verify again";
  }
}

}  // namespace

const char* VerdictName(Verdict verdict) {
  switch (verdict) {
    case Verdict::kWhole:
      return "whole";
    case Verdict::kDamaged:
      return "damaged";
    case Verdict::kRefused:
      return "refused";
    case Verdict::kSuspect:
      return "suspect";
  }
  return "?";
}

PartitionReport VerifyPartition(BlockingBackend& io, const DataDir& dir,
                                const PartitionFacts& facts) {
  PartitionReport report;
  report.name = facts.name;
  if (facts.directory.empty()) {
    Refuse(&report, Verdict::kRefused, "the journal knows it, but its directory is missing",
           "put the directory back from a copy, or delete its topic");
    return report;
  }
  if (!facts.topic_id.ok()) {
    report.verdict = Verdict::kDamaged;
    report.findings.push_back({absl::StrCat(facts.directory, "/", log::kPartitionMetadataFile), 0,
                               0, 0, 0, std::string(facts.topic_id.status().message()),
                               "put the file back from a copy: it holds the topic's id"});
  }
  report.proof = ProofOf(io, dir, facts, &report);
  if (!facts.same_id.empty()) {
    Refuse(&report, Verdict::kRefused,
           absl::StrCat("directory conflict: ", absl::StrJoin(facts.same_id, ", "),
                        " has the same topic id and partition"),
           "move away the directory that is a copy");
  } else if (facts.cores > 1) {
    Refuse(&report, Verdict::kRefused, "the journals of two cores have it, and neither released it",
           "put back the whole data directory from one copy");
  }
  const bool clean = dir.has_journal()
                         ? dir.clean()
                         : io.StatPath(absl::StrCat(dir.path, "/", log::kCleanShutdownFile)).ok();
  CheckBatches(dir, facts, clean, &report);
  if (report.log) CheckIndexes(io, &report);
  CheckSmallFiles(io, facts, &report);
  return report;
}

JournalReport VerifyJournal(const DataDir& dir) {
  JournalReport report;
  for (const std::string& why : dir.refusals) {
    report.findings.push_back(
        {log::JournalDirectory(dir.path), 0, 0, 0, 0, why,
         "no broker starts like this: put journal/ back from a copy, or start with "
         "--accept_journal_loss, which closes the partitions that may have lost records"});
  }
  for (const auto& core : dir.cores) {
    report.frames += core->scan.frames;
    report.frames_cut += core->scan.frames_cut;
    for (uint32_t slot = 0; slot < 2; ++slot) {
      if (core->slots[slot].ok() || absl::IsNotFound(core->slots[slot].status())) continue;
      report.findings.push_back({absl::StrCat(core->directory, "/", log::CheckpointFileName(slot)),
                                 0, 0, 0, 0, std::string(core->slots[slot].status().message()),
                                 core->newest
                                     ? "nothing: the other slot is whole, this one is written next"
                                     : "as for the journal"});
    }
    for (const log::SeqRange& lost : core->scan.lost) {
      report.findings.push_back(
          {core->directory, 0, 0, 0, 0,
           lost.last == UINT64_MAX
               ? absl::StrFormat("frames from %d on are lost", lost.first)
               : absl::StrFormat("frames %d to %d are lost", lost.first, lost.last),
           "start the broker: what the segments still have is healed, other partitions are "
           "closed"});
    }
    if (core->scan.frames_damaged > 0) {
      report.findings.push_back(
          {core->directory, 0, 0, 0, 0,
           absl::StrCat(core->scan.frames_damaged, " frames have damaged payloads"),
           "start the broker: what the segments still have is healed, other partitions are "
           "closed"});
    }
  }
  return report;
}

}  // namespace ringtail::offline
