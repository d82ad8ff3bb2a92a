// What `ringtail log verify` says of a data directory, and the judgement behind `log accept`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tools/offline/data_dir.h"
#include "tools/offline/segment_check.h"

namespace ringtail::offline {

struct Finding {
  std::string file;
  int64_t from = 0;  // bytes; both 0: the file as a whole
  int64_t to = 0;
  uint64_t first_offset = 0;  // offsets that are lost with them; none where equal
  uint64_t next_offset = 0;
  std::string what;
  std::string advice;
};

enum class Verdict { kWhole, kDamaged, kRefused, kSuspect };
const char* VerdictName(Verdict verdict);

struct PartitionReport {
  std::string name;
  Verdict verdict = Verdict::kWhole;
  std::string reason;              // of kRefused and kSuspect
  std::string advice;              // what to do about them
  std::vector<Finding> findings;   // of kDamaged
  std::vector<std::string> notes;  // what the next start does by itself
  std::optional<LogState> log;     // unless there is no directory
  Proof proof;

  void Worsen(Verdict to) {
    if (verdict == Verdict::kWhole) verdict = to;
  }
};

PartitionReport VerifyPartition(BlockingBackend& io, const DataDir& dir,
                                const PartitionFacts& facts);

struct JournalReport {
  std::vector<Finding> findings;
  uint64_t frames = 0;
  uint64_t frames_cut = 0;
};
JournalReport VerifyJournal(const DataDir& dir);

}  // namespace ringtail::offline
