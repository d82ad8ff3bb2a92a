// Reading the journal that a run of a core has left: which frames exist, which are missing, and
// where what counts ends. Reads only.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/io/backend.h"
#include "engine/log/journal/journal_format.h"
#include "engine/task/task.h"

namespace ringtail::log {

struct JournalScanOptions {
  std::string directory;  // .../core-NNNN
  uint32_t run = 0;
  uint32_t core = 0;
  base::Uuid dir_id;
  int64_t read_bytes = 4 << 20;
  // Most of a ring may hold nothing of the run. Behind so many bytes without a frame, several of
  // the largest, only probes are read: each longer than a frame, so that frames which go on there
  // are seen, and then nothing before them is passed over.
  int64_t quiet_bytes = 16 << 20;
  int64_t probe_bytes = (1 << 20) + kJournalBlockBytes;
  int64_t probe_every_bytes = 16 << 20;
};

// A K.journal of the directory, whoever wrote it.
struct JournalFileFound {
  std::string path;
  int64_t bytes = 0;
  uint32_t run = 0;  // 0: neither its header nor a frame says
  uint32_t core = 0;
  uint32_t number = 0;
  // Its header cannot be read; its newest frames name it. They may be of the lap before: a file
  // that was made ready has none yet.
  bool header_lost = false;
  bool cut_short = false;  // it has less bytes than its header says
  // Where the torn end begins, which does not count; 0: not in this file. Once it has been found it
  // must be kept for as long as the file is: later it could not be told from rot.
  uint32_t end_block = 0;
};
// FailedPrecondition names a file that is of another data directory or a later version.
task::Task<absl::StatusOr<std::vector<JournalFileFound>>> ListJournalFiles(io::Backend& io,
                                                                           std::string directory,
                                                                           base::Uuid dir_id);

// An entry, and where its payload is.
struct ScannedEntry {
  EntryHeader entry;
  uint32_t run = 0;
  uint32_t core = 0;
  uint64_t seq = 0;
  uint32_t index = 0;      // in its frame
  uint32_t file = 0;       // into JournalScan::files
  int64_t payload_at = 0;  // in that file
  bool whole = true;       // its payload has the CRC that was staged
};

struct SeqRange {
  uint64_t first = 0;
  uint64_t last = 0;  // inclusive; UINT64_MAX: nobody knows
};

struct JournalScan {
  std::vector<JournalFileFound> files;
  std::vector<ScannedEntry> entries;  // of frames that count, by seq
  std::vector<SeqRange> lost;         // frames that were durable and cannot be read, by seq
  uint64_t proven_seq = 0;            // D: all frames up to it had been durable
  uint64_t frames = 0;                // that count
  uint64_t frames_cut = 0;            // behind the torn end: in flight together, none acknowledged
  uint64_t frames_damaged = 0;        // found, with a payload that is not what was staged
};

// The frames from tail_seq on that lie in files from `tail_file` on, cut at the torn end (which
// becomes the end_block of files): the first missing or damaged frame n > D, where D is the largest
// of all durable_seq found and `synced_seq`. Missing frames up to D are lost. tail_file 0: the run
// had not made a file yet.
task::Task<absl::StatusOr<JournalScan>> ScanJournal(io::Backend& io, JournalScanOptions options,
                                                    std::vector<JournalFileFound> files,
                                                    uint32_t tail_file, uint64_t tail_seq,
                                                    uint64_t synced_seq);

// All entries with whole headers in one file up to its end_block, for held files. `gaps`: frames
// between others are lost.
task::Task<absl::StatusOr<std::vector<ScannedEntry>>> ScanHeldFile(io::Backend& io,
                                                                   JournalScanOptions options,
                                                                   JournalFileFound file,
                                                                   uint32_t index, bool* gaps);

}  // namespace ringtail::log
