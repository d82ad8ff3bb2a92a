// The bytes of the journal (engine/log/JOURNAL.md): structs as they stand on disk, little endian,
// and the checks that every reader makes. Pure functions, no I/O. Whatever comes from a disk is
// answered with a Status that says what is wrong; nothing is read before its length was checked.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/base/bytes.h"
#include "engine/base/types.h"

namespace ringtail::log {

static_assert(std::endian::native == std::endian::little,
              "the structs below are copied as they are");

inline constexpr uint32_t kJournalVersion = 2;  // 1: entries do not tell where the log starts
inline constexpr uint32_t kManifestMagic = 0x4d4a5452;    // "RTJM"
inline constexpr uint32_t kFileMagic = 0x484a5452;        // "RTJH"
inline constexpr uint32_t kFrameMagic = 0x464a5452;       // "RTJF"
inline constexpr uint32_t kCheckpointMagic = 0x434a5452;  // "RTJC"

inline constexpr size_t kJournalBlockBytes = 4096;
inline constexpr size_t kFrameBytesMax = size_t{1} << 20;
inline constexpr size_t kPayloadAlignment = 8;
inline constexpr uint32_t kJournalCoresMax = 10'000;  // directory names have four digits
inline constexpr int64_t kJournalFileBytesMin = 2 * kJournalBlockBytes;
inline constexpr int64_t kJournalFileBytesMax = int64_t{1} << 40;
inline constexpr uint32_t kCheckpointRecordsMax = 4'000'000;
inline constexpr uint32_t kCheckpointHeldMax = 1'000'000;

// --- MANIFEST.

enum class ManifestState : uint32_t { kOpen = 1, kClean = 2 };

struct Manifest {
  uint32_t magic = kManifestMagic;
  uint32_t crc = 0;  // of bytes 8 to 63
  uint32_t version = kJournalVersion;
  uint32_t run = 0;  // +1 at every start, from 1
  uint32_t cores = 0;
  ManifestState state = ManifestState::kOpen;
  uint64_t created_ms = 0;
  base::Uuid dir_id;
  uint8_t zero[16] = {};
};
static_assert(sizeof(Manifest) == 64 && std::is_trivially_copyable_v<Manifest>);
static_assert(offsetof(Manifest, created_ms) == 24 && offsetof(Manifest, dir_id) == 32);

// 64 bytes; fills in magic, version and crc.
std::string EncodeManifest(Manifest manifest);
absl::StatusOr<Manifest> DecodeManifest(base::ByteView bytes);

// --- The first block of a journal file.

struct JournalFileHeader {
  uint32_t magic = kFileMagic;
  uint32_t crc = 0;  // of bytes 8 to 4095 of the block
  uint32_t version = kJournalVersion;
  uint32_t run = 0;
  uint32_t core = 0;
  uint32_t file_number = 0;  // rises from file to file of a core and run, from 1
  uint64_t file_bytes = 0;
  uint64_t created_ms = 0;
  uint64_t zero = 0;
  base::Uuid dir_id;
};
static_assert(sizeof(JournalFileHeader) == 64 && std::is_trivially_copyable_v<JournalFileHeader>);
static_assert(offsetof(JournalFileHeader, file_bytes) == 24 &&
              offsetof(JournalFileHeader, dir_id) == 48);

// Writes a whole block; fills in magic, version and crc. CHECKs block.size() == kJournalBlockBytes.
void EncodeJournalFileHeader(JournalFileHeader header, base::MutableByteView block);
// At least a block.
absl::StatusOr<JournalFileHeader> DecodeJournalFileHeader(base::ByteView block);

// --- Frames.

inline constexpr uint32_t kFrameFlagSeal = 1;
// The upper bits of flags: how many files after this one were ready when the frame was made. A file
// that is lost with all that it had is missed by that.
inline constexpr uint32_t kFilesReadyShift = 8;
inline constexpr uint32_t kFilesReadyMax = UINT32_MAX >> kFilesReadyShift;

struct FrameHeader {
  uint32_t magic = kFrameMagic;
  uint32_t header_crc = 0;   // of bytes 8 to 63, then of the entry table
  uint64_t seq = 0;          // +1 per frame of a core and run, from 1
  uint64_t durable_seq = 0;  // all frames up to it had completed when this one was made
  uint32_t run = 0;
  uint32_t file_number = 0;
  uint32_t core = 0;
  uint32_t position_blocks = 0;  // position in the file / 4096
  uint32_t frame_bytes = 0;
  uint32_t entry_count = 0;
  uint32_t flags = 0;
  uint32_t table_offset = 0;  // from the start of the frame
  uint8_t dir_id[8] = {};     // the first 8 of it
};
constexpr uint32_t FilesReady(const FrameHeader& header) {
  return header.flags >> kFilesReadyShift;
}
static_assert(sizeof(FrameHeader) == 64 && std::is_trivially_copyable_v<FrameHeader>);
static_assert(offsetof(FrameHeader, run) == 24 && offsetof(FrameHeader, core) == 32 &&
              offsetof(FrameHeader, frame_bytes) == 40 && offsetof(FrameHeader, flags) == 48 &&
              offsetof(FrameHeader, dir_id) == 56);

enum class EntryType : uint8_t {
  kAppend = 1,
  kInPlace = 2,
  kTruncate = 3,
  kTrim = 4,
  kDrop = 5,
  kEpoch = 6,
};
inline constexpr uint8_t kEntryTypeMax = 6;
inline constexpr uint8_t kInPlacePageCache = 1;    // page_cache from here on
inline constexpr uint8_t kInPlaceReleased = 2;     // released to another core
inline constexpr uint8_t kTruncateStartFresh = 1;  // all segments go
inline constexpr uint8_t kEntryTellsStart = 128;   // of any type: see TellStart

absl::string_view EntryTypeName(uint8_t type);  // "type 9" reads "?"

struct EntryHeader {
  base::Uuid topic_id;
  uint32_t partition = 0;
  uint8_t type = 0;  // an EntryType; others are kept, recovery refuses to start on them
  uint8_t flags = 0;
  uint16_t start_behind_high = 0;  // kEntryTellsStart: end_offset less the log's start, 48 bits
  uint32_t leader_epoch = 0;
  uint32_t payload_bytes = 0;
  uint64_t base_offset = 0;
  uint64_t end_offset = 0;  // exclusive
  uint64_t segment_base = 0;
  uint32_t position = 0;        // in the segment
  uint32_t payload_offset = 0;  // from the start of the frame; 0 where there is no payload
  uint32_t payload_crc = 0;
  uint32_t start_behind_low = 0;
};
static_assert(sizeof(EntryHeader) == 72 && std::is_trivially_copyable_v<EntryHeader>);
static_assert(offsetof(EntryHeader, partition) == 16 && offsetof(EntryHeader, type) == 20 &&
              offsetof(EntryHeader, leader_epoch) == 24 &&
              offsetof(EntryHeader, base_offset) == 32 &&
              offsetof(EntryHeader, segment_base) == 48 && offsetof(EntryHeader, position) == 56 &&
              offsetof(EntryHeader, payload_crc) == 64);

// The log's durable start goes with every entry, as far as 48 bits reach: where the frame with a
// TRIM is lost, any later entry tells. 0, and before the end of a log that begins, is not told.
void TellStart(uint64_t log_start, EntryHeader* entry);
uint64_t StartTold(const EntryHeader& entry);  // 0: it does not tell
// Where a log that started at `log_start` does after this TRUNCATE, which may be below.
inline uint64_t StartAfterCut(const EntryHeader& entry, uint64_t log_start) {
  const bool fresh = (entry.flags & kTruncateStartFresh) != 0;
  return fresh || entry.end_offset < log_start ? entry.end_offset : log_start;
}

// Where a frame is looked for. What it says of itself has to fit, or it does not exist (J5).
struct FramePlace {
  uint32_t run = 0;
  uint32_t core = 0;
  uint32_t file_number = 0;
  int64_t position = 0;    // in the file, a multiple of 4096
  int64_t file_bytes = 0;  // the frame must end by then
  base::Uuid dir_id;
};

// Magic, place and lengths, of the first 64 bytes. The CRC needs the table: DecodeFrame.
absl::StatusOr<FrameHeader> DecodeFrameHeader(base::ByteView bytes, const FramePlace& place);

struct Frame {
  FrameHeader header;
  std::vector<EntryHeader> entries;  // lengths and offsets checked against the frame
};
// `bytes` begins with the frame and holds at least its frame_bytes. Payloads are not read.
absl::StatusOr<Frame> DecodeFrame(base::ByteView bytes, const FramePlace& place);

// The payload of an entry of a frame that DecodeFrame accepted.
inline base::ByteView PayloadOf(base::ByteView frame, const EntryHeader& entry) {
  return frame.subspan(entry.payload_offset, entry.payload_bytes);
}
// Whether its bytes are those that were staged.
bool PayloadIsWhole(base::ByteView frame, const EntryHeader& entry);

// Bytes that a frame of these takes, a multiple of 4096. payload_bytes: each rounded up to 8.
constexpr size_t FrameBytesFor(size_t payload_bytes, size_t entry_count) {
  const size_t bytes = sizeof(FrameHeader) + payload_bytes + entry_count * sizeof(EntryHeader);
  return (bytes + kJournalBlockBytes - 1) / kJournalBlockBytes * kJournalBlockBytes;
}
constexpr size_t PaddedPayload(size_t bytes) {
  return (bytes + kPayloadAlignment - 1) / kPayloadAlignment * kPayloadAlignment;
}

// --- Checkpoint slots.

inline constexpr uint32_t kRecordPageCache = 1;
inline constexpr uint32_t kRecordPoisoned = 2;
inline constexpr uint32_t kRecordRefused = 4;
// With kRecordRefused: what was lost is known to nobody, so that only a person can settle it.
inline constexpr uint32_t kRecordSuspect = 8;
// R of a suspect that nothing proves the end of: as far as its batches can be read.
inline constexpr uint64_t kRecordEndUnknown = INT64_MAX;

struct CheckpointHeader {
  uint32_t magic = kCheckpointMagic;
  uint32_t crc = 0;  // of all of the slot from byte 8 on
  uint32_t version = kJournalVersion;
  uint32_t run = 0;
  uint32_t core = 0;
  uint32_t tail_file = 0;
  uint32_t records = 0;
  uint32_t held = 0;
  uint64_t number = 0;  // rises from slot to slot of a core, runs included
  uint64_t tail_seq = 0;
  base::Uuid dir_id;
};
static_assert(sizeof(CheckpointHeader) == 64 && std::is_trivially_copyable_v<CheckpointHeader>);
static_assert(offsetof(CheckpointHeader, number) == 32 && offsetof(CheckpointHeader, dir_id) == 48);

// Entries up to sync_seq are in place and lead to the log end R = (offset, segment_base, position).
struct CheckpointRecord {
  base::Uuid topic_id;
  uint32_t partition = 0;
  uint32_t flags = 0;
  uint64_t sync_seq = 0;
  uint64_t offset = 0;
  uint64_t segment_base = 0;
  uint64_t log_start = 0;
  uint32_t position = 0;
  uint32_t leader_epoch = 0;
};
static_assert(sizeof(CheckpointRecord) == 64 && std::is_trivially_copyable_v<CheckpointRecord>);
static_assert(offsetof(CheckpointRecord, sync_seq) == 24 &&
              offsetof(CheckpointRecord, position) == 56);

struct HeldFile {
  uint32_t run = 0;
  uint32_t core = 0;
  uint32_t file_number = 0;
  // In blocks of the file: what lies from there on a recovery has cut, as the torn end of the run.
  // 0: all of it counts.
  uint32_t end_block = 0;

  auto operator<=>(const HeldFile&) const = default;
};
static_assert(sizeof(HeldFile) == 16 && std::is_trivially_copyable_v<HeldFile>);

struct Checkpoint {
  CheckpointHeader header;  // magic, crc, version, records and held are filled in by Encode
  std::vector<CheckpointRecord> records;
  std::vector<HeldFile> held;
};
std::string EncodeCheckpoint(const Checkpoint& checkpoint);
// The slot may be longer than its content (it is overwritten in place).
absl::StatusOr<Checkpoint> DecodeCheckpoint(base::ByteView bytes);

// --- Names, below the data directory.

std::string JournalDirectory(absl::string_view data_dir);                     // <data>/journal
std::string JournalCoreDirectory(absl::string_view data_dir, uint32_t core);  // .../core-0003
std::string JournalManifestPath(absl::string_view data_dir);
std::string JournalSyncPath(absl::string_view data_dir);  // the file that group syncs flush
std::string JournalFileName(uint32_t index);              // "7.journal"
std::string CheckpointFileName(uint32_t slot);            // "checkpoint.0", "checkpoint.1"
bool ParseJournalFileName(absl::string_view name, uint32_t* index);
bool ParseJournalCoreDirectory(absl::string_view name, uint32_t* core);

}  // namespace ringtail::log
