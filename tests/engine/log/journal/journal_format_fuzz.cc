// Any bytes, as each struct of the journal: no crash, nothing read outside, nothing large
// allocated; and what is accepted is whole. The first byte picks the struct; the CRC is set right
// every other time, so that the checks behind it are reached. What this version wrote is written
// the same again.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "engine/base/check.h"
#include "engine/base/crc32c.h"
#include "engine/log/journal/journal_format.h"

namespace ringtail::log {
namespace {

using base::ByteView;

void SetCrc(std::vector<uint8_t>* bytes, uint32_t crc) {
  if (bytes->size() >= 8) std::memcpy(bytes->data() + 4, &crc, 4);
}

void SetMagic(std::vector<uint8_t>* bytes, uint32_t magic) {
  if (bytes->size() >= 8) std::memcpy(bytes->data(), &magic, 4);
}

void FuzzFrame(std::vector<uint8_t> bytes, bool fix) {
  FramePlace place;
  place.run = 1;
  place.file_number = 2;
  place.position = 4096;
  place.file_bytes = 1 << 20;
  if (fix && bytes.size() >= sizeof(FrameHeader)) {
    FrameHeader header;
    std::memcpy(&header, bytes.data(), sizeof(header));
    bytes.resize(std::max(bytes.size(), kJournalBlockBytes));
    header.magic = kFrameMagic;
    header.run = 1;
    header.file_number = 2;
    header.core = 0;
    header.position_blocks = 1;
    header.frame_bytes =
        static_cast<uint32_t>(bytes.size() / kJournalBlockBytes * kJournalBlockBytes);
    std::memset(header.dir_id, 0, sizeof(header.dir_id));
    std::memcpy(bytes.data(), &header, sizeof(header));
    const size_t table = size_t{header.entry_count} * sizeof(EntryHeader);
    if (header.table_offset <= bytes.size() && table <= bytes.size() - header.table_offset) {
      SetCrc(&bytes, base::Crc32cExtend(base::Crc32c(ByteView(bytes).subspan(8, 56)),
                                        ByteView(bytes).subspan(header.table_offset, table)));
    }
  }
  const auto frame = DecodeFrame(bytes, place);
  if (!frame.ok()) return;
  RT_CHECK(frame->entries.size() == frame->header.entry_count);
  for (const EntryHeader& entry : frame->entries) static_cast<void>(PayloadIsWhole(bytes, entry));
}

void FuzzCheckpoint(std::vector<uint8_t> bytes, bool fix) {
  if (fix && bytes.size() >= sizeof(CheckpointHeader)) {
    SetMagic(&bytes, kCheckpointMagic);
    CheckpointHeader header;
    std::memcpy(&header, bytes.data(), sizeof(header));
    const size_t end = sizeof(header) + size_t{header.records} * sizeof(CheckpointRecord) +
                       size_t{header.held} * sizeof(HeldFile);
    if (end <= bytes.size()) SetCrc(&bytes, base::Crc32c(ByteView(bytes).subspan(8, end - 8)));
  }
  const auto read = DecodeCheckpoint(bytes);
  if (!read.ok() || read->header.version != kJournalVersion) return;
  const std::string again = EncodeCheckpoint(*read);
  RT_CHECK(again.size() <= bytes.size());
  RT_CHECK(std::memcmp(again.data(), bytes.data(), again.size()) == 0);
}

}  // namespace
}  // namespace ringtail::log

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ringtail::log;
  using ringtail::base::ByteView;
  if (size == 0) return 0;
  const uint8_t kind = data[0];
  std::vector<uint8_t> bytes(data + 1, data + size);
  const bool fix = (kind & 1) != 0;
  switch ((kind >> 1) % 4) {
    case 0:
      FuzzFrame(bytes, fix);
      break;
    case 1:
      FuzzCheckpoint(bytes, fix);
      break;
    case 2:
      if (fix && bytes.size() >= sizeof(Manifest)) {
        bytes.resize(sizeof(Manifest));
        SetMagic(&bytes, kManifestMagic);
        SetCrc(&bytes, ringtail::base::Crc32c(ByteView(bytes).subspan(8)));
      }
      if (const auto read = DecodeManifest(bytes); read.ok() && read->version == kJournalVersion) {
        RT_CHECK(ringtail::base::AsText(bytes) == EncodeManifest(*read));
      }
      break;
    default:
      if (fix && bytes.size() >= 8) {
        bytes.resize(kJournalBlockBytes);
        SetMagic(&bytes, kFileMagic);
        SetCrc(&bytes, ringtail::base::Crc32c(ByteView(bytes).subspan(8)));
      }
      static_cast<void>(DecodeJournalFileHeader(bytes));
      break;
  }
  return 0;
}
