#include "engine/log/journal/journal_format.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/check.h"
#include "engine/base/crc32c.h"
#include "engine/base/result.h"
#include "engine/log/journal/mutants.h"

namespace ringtail::log {
namespace {

using base::ByteView;
using base::Crc32c;

constexpr size_t kCrcEnd = 8;  // magic and crc come first, everywhere
constexpr int kStartBits = 48;

template <class T>
T Load(ByteView bytes, size_t at) {
  T value;
  RT_CHECK(bytes.size() >= at + sizeof(T));
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

template <class T>
ByteView BytesOf(const T& value) {
  return {reinterpret_cast<const uint8_t*>(&value), sizeof(T)};
}

template <class T>
void Append(const T& value, std::string* to) {
  to->append(reinterpret_cast<const char*>(&value), sizeof(T));
}

absl::Status Bad(absl::string_view what, absl::string_view why) {
  return absl::DataLossError(absl::StrCat(what, ": ", why));
}

absl::Status CheckMagic(absl::string_view what, uint32_t magic, uint32_t expected) {
  if (magic == expected) return absl::OkStatus();
  return Bad(what, absl::StrFormat("magic is %08x", magic));
}

// After the CRC: a flipped bit must not pass for a later version. All versions keep magic, crc and
// version in these places, and the crc's range.
absl::Status CheckVersion(absl::string_view what, uint32_t version) {
  if (version >= 1 && version <= kJournalVersion) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(what, ": version ", version, ", this program knows ", kJournalVersion));
}

absl::Status CheckCrc(absl::string_view what, uint32_t found, uint32_t computed) {
  if (found == computed) return absl::OkStatus();
  return Bad(what, absl::StrFormat("crc is %08x, its bytes give %08x", found, computed));
}

uint64_t StartBehind(const EntryHeader& entry) {
  return uint64_t{entry.start_behind_high} << 32 | entry.start_behind_low;
}

bool AllZero(ByteView bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; });
}

uint32_t FrameCrc(ByteView frame, const FrameHeader& header) {
  const ByteView fixed = frame.subspan(kCrcEnd, sizeof(FrameHeader) - kCrcEnd);
  const ByteView table =
      frame.subspan(header.table_offset, size_t{header.entry_count} * sizeof(EntryHeader));
  return base::Crc32cExtend(Crc32c(fixed), table);
}

// What a frame with a good CRC can still have wrong: only what another program wrote.
absl::Status CheckEntry(const EntryHeader& entry, const FrameHeader& header, size_t* payloads_end) {
  const bool tells = (entry.flags & kEntryTellsStart) != 0;
  if (StartBehind(entry) > (tells ? entry.end_offset : 0)) {
    return Bad("entry", tells ? "a negative start" : "reserved bytes are not zero");
  }
  if (entry.end_offset > INT64_MAX || entry.base_offset > INT64_MAX ||
      entry.segment_base > INT64_MAX) {
    return Bad("entry", "a negative offset");
  }
  if (uint64_t{entry.position} + entry.payload_bytes > INT32_MAX) {
    return Bad("entry", absl::StrCat("ends past byte ", INT32_MAX, " of a segment"));
  }
  if (entry.payload_bytes == 0) {
    if (entry.payload_offset != 0 || entry.payload_crc != 0) {
      return Bad("entry", "a payload offset or crc without a payload");
    }
    return absl::OkStatus();
  }
  if (entry.payload_offset % kPayloadAlignment != 0 || entry.payload_offset < *payloads_end ||
      size_t{entry.payload_offset} + entry.payload_bytes > header.table_offset) {
    return Bad("entry", absl::StrCat("payload at ", entry.payload_offset, " of ",
                                     entry.payload_bytes, " bytes does not fit its frame"));
  }
  *payloads_end = size_t{entry.payload_offset} + entry.payload_bytes;
  return absl::OkStatus();
}

absl::Status CheckEntryType(const EntryHeader& entry) {
  if (entry.type == static_cast<uint8_t>(EntryType::kAppend)) {
    if (entry.payload_bytes == 0) return Bad("entry", "APPEND without a payload");
    if (entry.end_offset <= entry.base_offset) return Bad("entry", "APPEND of no offsets");
  } else if (entry.type <= kEntryTypeMax && entry.payload_bytes != 0) {
    return Bad("entry", absl::StrCat(EntryTypeName(entry.type), " with a payload"));
  }
  return absl::OkStatus();
}

bool ParseNumber(absl::string_view digits, uint32_t* value) {
  if (digits.empty() || digits.size() > 9) return false;
  if (!std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; })) {
    return false;
  }
  return absl::SimpleAtoi(digits, value);
}

}  // namespace

std::string EncodeManifest(Manifest manifest) {
  manifest.magic = kManifestMagic;
  manifest.version = kJournalVersion;
  manifest.crc = Crc32c(BytesOf(manifest).subspan(kCrcEnd));
  std::string bytes;
  Append(manifest, &bytes);
  return bytes;
}

absl::StatusOr<Manifest> DecodeManifest(ByteView bytes) {
  if (bytes.size() != sizeof(Manifest)) {
    return Bad("MANIFEST", absl::StrCat(bytes.size(), " bytes, not ", sizeof(Manifest)));
  }
  const auto manifest = Load<Manifest>(bytes, 0);
  RT_RETURN_IF_ERROR(CheckMagic("MANIFEST", manifest.magic, kManifestMagic));
  RT_RETURN_IF_ERROR(CheckCrc("MANIFEST", manifest.crc, Crc32c(bytes.subspan(kCrcEnd))));
  RT_RETURN_IF_ERROR(CheckVersion("MANIFEST", manifest.version));
  if (manifest.run == 0) return Bad("MANIFEST", "run is 0");
  if (manifest.cores == 0 || manifest.cores > kJournalCoresMax) {
    return Bad("MANIFEST", absl::StrCat(manifest.cores, " cores"));
  }
  if (manifest.state != ManifestState::kOpen && manifest.state != ManifestState::kClean) {
    return Bad("MANIFEST", absl::StrCat("state ", static_cast<uint32_t>(manifest.state)));
  }
  if (manifest.dir_id.IsZero()) return Bad("MANIFEST", "no directory id");
  if (!AllZero(manifest.zero)) return Bad("MANIFEST", "reserved bytes are not zero");
  return manifest;
}

void EncodeJournalFileHeader(JournalFileHeader header, base::MutableByteView block) {
  RT_CHECK(block.size() == kJournalBlockBytes);
  header.magic = kFileMagic;
  header.version = kJournalVersion;
  std::memset(block.data(), 0, block.size());
  std::memcpy(block.data(), &header, sizeof(header));
  header.crc = Crc32c(ByteView(block).subspan(kCrcEnd));
  std::memcpy(block.data(), &header, sizeof(header));
}

absl::StatusOr<JournalFileHeader> DecodeJournalFileHeader(ByteView block) {
  constexpr absl::string_view kWhat = "journal file header";
  if (block.size() < kJournalBlockBytes) {
    return Bad(kWhat, absl::StrCat(block.size(), " bytes, less than a block"));
  }
  const auto header = Load<JournalFileHeader>(block, 0);
  RT_RETURN_IF_ERROR(CheckMagic(kWhat, header.magic, kFileMagic));
  RT_RETURN_IF_ERROR(
      CheckCrc(kWhat, header.crc, Crc32c(block.subspan(kCrcEnd, kJournalBlockBytes - kCrcEnd))));
  RT_RETURN_IF_ERROR(CheckVersion(kWhat, header.version));
  if (header.run == 0 || header.file_number == 0) return Bad(kWhat, "run or file number is 0");
  if (header.core >= kJournalCoresMax) return Bad(kWhat, absl::StrCat("core ", header.core));
  if (header.file_bytes < kJournalFileBytesMin || header.file_bytes > kJournalFileBytesMax ||
      header.file_bytes % kJournalBlockBytes != 0) {
    return Bad(kWhat, absl::StrCat("a file of ", header.file_bytes, " bytes"));
  }
  return header;
}

absl::string_view EntryTypeName(uint8_t type) {
  switch (static_cast<EntryType>(type)) {
    case EntryType::kAppend:
      return "APPEND";
    case EntryType::kInPlace:
      return "IN_PLACE";
    case EntryType::kTruncate:
      return "TRUNCATE";
    case EntryType::kTrim:
      return "TRIM";
    case EntryType::kDrop:
      return "DROP";
    case EntryType::kEpoch:
      return "EPOCH";
  }
  return "?";
}

void TellStart(uint64_t log_start, EntryHeader* entry) {
  if (log_start == 0 || log_start > entry->end_offset) return;
  const uint64_t behind = entry->end_offset - log_start;
  if (behind >> kStartBits != 0) return;
  entry->flags |= kEntryTellsStart;
  entry->start_behind_high = static_cast<uint16_t>(behind >> 32);
  entry->start_behind_low = static_cast<uint32_t>(behind);
}

uint64_t StartTold(const EntryHeader& entry) {
  return (entry.flags & kEntryTellsStart) != 0 ? entry.end_offset - StartBehind(entry) : 0;
}

absl::StatusOr<FrameHeader> DecodeFrameHeader(ByteView bytes, const FramePlace& place) {
  constexpr absl::string_view kWhat = "frame";
  if (bytes.size() < sizeof(FrameHeader)) return Bad(kWhat, "cut off in its header");
  const auto header = Load<FrameHeader>(bytes, 0);
  if (header.magic != kFrameMagic)
    return Bad(kWhat, absl::StrFormat("magic is %08x", header.magic));
  if (!kMutantIgnoreRun && header.run != place.run) {
    return Bad(kWhat, absl::StrCat("of run ", header.run, ", not ", place.run));
  }
  if (!kMutantIgnoreFileNumber && header.file_number != place.file_number) {
    return Bad(kWhat, absl::StrCat("of file ", header.file_number, ", not ", place.file_number));
  }
  if (header.core != place.core) {
    return Bad(kWhat, absl::StrCat("of core ", header.core, ", not ", place.core));
  }
  if (int64_t{header.position_blocks} * int64_t{kJournalBlockBytes} != place.position) {
    return Bad(kWhat, absl::StrCat("for block ", header.position_blocks, ", found at byte ",
                                   place.position));
  }
  if (std::memcmp(header.dir_id, place.dir_id.bytes.data(), sizeof(header.dir_id)) != 0) {
    return Bad(kWhat, "of another data directory");
  }
  if (header.frame_bytes < kJournalBlockBytes || header.frame_bytes > kFrameBytesMax ||
      header.frame_bytes % kJournalBlockBytes != 0 ||
      place.position > place.file_bytes - int64_t{header.frame_bytes}) {
    return Bad(kWhat, absl::StrCat(header.frame_bytes, " bytes long"));
  }
  if (header.entry_count > kFrameBytesMax / sizeof(EntryHeader) ||
      header.table_offset < sizeof(FrameHeader) || header.table_offset % kPayloadAlignment != 0 ||
      size_t{header.table_offset} + size_t{header.entry_count} * sizeof(EntryHeader) >
          header.frame_bytes) {
    return Bad(kWhat, absl::StrCat("a table of ", header.entry_count, " entries at ",
                                   header.table_offset, " does not fit"));
  }
  return header;
}

absl::StatusOr<Frame> DecodeFrame(ByteView bytes, const FramePlace& place) {
  RT_ASSIGN_OR_RETURN(const FrameHeader header, DecodeFrameHeader(bytes, place));
  if (bytes.size() < header.frame_bytes) return Bad("frame", "cut off");
  const ByteView frame = bytes.first(header.frame_bytes);
  RT_RETURN_IF_ERROR(CheckCrc("frame", header.header_crc, FrameCrc(frame, header)));
  if (header.seq == 0 || header.durable_seq >= header.seq) {
    return Bad("frame", absl::StrCat("seq ", header.seq, ", durable ", header.durable_seq));
  }
  if ((header.flags & ((1u << kFilesReadyShift) - 1) & ~kFrameFlagSeal) != 0)
    return Bad("frame", "unknown flags");
  Frame result{header, {}};
  result.entries.reserve(header.entry_count);
  size_t payloads_end = sizeof(FrameHeader);
  for (uint32_t i = 0; i < header.entry_count; ++i) {
    result.entries.push_back(
        Load<EntryHeader>(frame, header.table_offset + size_t{i} * sizeof(EntryHeader)));
    RT_RETURN_IF_ERROR(CheckEntry(result.entries.back(), header, &payloads_end));
    RT_RETURN_IF_ERROR(CheckEntryType(result.entries.back()));
  }
  return result;
}

bool PayloadIsWhole(ByteView frame, const EntryHeader& entry) {
  return entry.payload_bytes == 0 || Crc32c(PayloadOf(frame, entry)) == entry.payload_crc;
}

std::string EncodeCheckpoint(const Checkpoint& checkpoint) {
  CheckpointHeader header = checkpoint.header;
  header.magic = kCheckpointMagic;
  header.version = kJournalVersion;
  header.crc = 0;
  RT_CHECK(checkpoint.records.size() <= kCheckpointRecordsMax);
  RT_CHECK(checkpoint.held.size() <= kCheckpointHeldMax);
  header.records = static_cast<uint32_t>(checkpoint.records.size());
  header.held = static_cast<uint32_t>(checkpoint.held.size());
  std::string bytes;
  bytes.reserve(sizeof(header) + header.records * sizeof(CheckpointRecord) +
                header.held * sizeof(HeldFile));
  Append(header, &bytes);
  for (const CheckpointRecord& record : checkpoint.records) Append(record, &bytes);
  for (const HeldFile& file : checkpoint.held) Append(file, &bytes);
  const uint32_t crc = Crc32c(base::AsBytes(bytes).subspan(kCrcEnd));
  std::memcpy(bytes.data() + offsetof(CheckpointHeader, crc), &crc, sizeof(crc));
  return bytes;
}

absl::StatusOr<Checkpoint> DecodeCheckpoint(ByteView bytes) {
  constexpr absl::string_view kWhat = "checkpoint";
  if (bytes.size() < sizeof(CheckpointHeader)) return Bad(kWhat, "cut off in its header");
  Checkpoint checkpoint;
  checkpoint.header = Load<CheckpointHeader>(bytes, 0);
  const CheckpointHeader& header = checkpoint.header;
  RT_RETURN_IF_ERROR(CheckMagic(kWhat, header.magic, kCheckpointMagic));
  if (header.records > kCheckpointRecordsMax || header.held > kCheckpointHeldMax) {
    return Bad(kWhat, absl::StrCat(header.records, " records, ", header.held, " held files"));
  }
  const size_t held_at = sizeof(header) + size_t{header.records} * sizeof(CheckpointRecord);
  const size_t end = held_at + size_t{header.held} * sizeof(HeldFile);
  if (bytes.size() < end) {
    return Bad(kWhat, absl::StrCat(bytes.size(), " bytes of ", end));
  }
  RT_RETURN_IF_ERROR(CheckCrc(kWhat, header.crc, Crc32c(bytes.subspan(kCrcEnd, end - kCrcEnd))));
  RT_RETURN_IF_ERROR(CheckVersion(kWhat, header.version));
  if (header.run == 0 || header.number == 0) return Bad(kWhat, "run or number is 0");
  if (header.core >= kJournalCoresMax) return Bad(kWhat, absl::StrCat("core ", header.core));
  checkpoint.records.reserve(header.records);
  for (size_t at = sizeof(header); at < held_at; at += sizeof(CheckpointRecord)) {
    checkpoint.records.push_back(Load<CheckpointRecord>(bytes, at));
    const CheckpointRecord& record = checkpoint.records.back();
    if (record.offset > INT64_MAX || record.segment_base > INT64_MAX ||
        record.log_start > INT64_MAX || record.position > INT32_MAX) {
      return Bad(kWhat, absl::StrCat("record of partition ", record.partition,
                                     " has an offset or position out of range"));
    }
  }
  checkpoint.held.reserve(header.held);
  for (size_t at = held_at; at < end; at += sizeof(HeldFile)) {
    checkpoint.held.push_back(Load<HeldFile>(bytes, at));
  }
  return checkpoint;
}

std::string JournalDirectory(absl::string_view data_dir) {
  return absl::StrCat(data_dir, "/journal");
}

std::string JournalCoreDirectory(absl::string_view data_dir, uint32_t core) {
  return absl::StrFormat("%s/journal/core-%04u", data_dir, core);
}

std::string JournalManifestPath(absl::string_view data_dir) {
  return absl::StrCat(data_dir, "/journal/MANIFEST");
}

std::string JournalSyncPath(absl::string_view data_dir) {
  return absl::StrCat(data_dir, "/journal/sync");
}

std::string JournalFileName(uint32_t index) { return absl::StrCat(index, ".journal"); }

std::string CheckpointFileName(uint32_t slot) { return absl::StrCat("checkpoint.", slot); }

bool ParseJournalFileName(absl::string_view name, uint32_t* index) {
  constexpr absl::string_view kSuffix = ".journal";
  if (!absl::EndsWith(name, kSuffix)) return false;
  name.remove_suffix(kSuffix.size());
  return ParseNumber(name, index) && absl::StrCat(*index) == name;
}

bool ParseJournalCoreDirectory(absl::string_view name, uint32_t* core) {
  constexpr absl::string_view kPrefix = "core-";
  if (!absl::StartsWith(name, kPrefix) || name.size() != kPrefix.size() + 4) return false;
  return ParseNumber(name.substr(kPrefix.size()), core);
}

}  // namespace ringtail::log
