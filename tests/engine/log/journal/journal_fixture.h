// What tests of the journal share: a small journal, clients that keep what they were told, and a
// reader that finds the frames on a disk as recovery does.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/log/journal/journal.h"
#include "engine/log/journal/journal_format.h"
#include "tests/sim/node.h"

namespace ringtail::log {

inline base::Uuid TestId(uint8_t first) {
  base::Uuid id;
  for (size_t i = 0; i < 16; ++i) id.bytes[i] = static_cast<uint8_t>(first + i);
  return id;
}

inline constexpr int64_t kTestFileBytes = 128 << 10;

inline JournalOptions SmallJournal() {
  JournalOptions options;
  options.directory = "/data/journal/core-0000";
  options.run = 3;
  options.dir_id = TestId(0x40);
  options.file_bytes = kTestFileBytes;
  options.bytes_max = 4 * kTestFileBytes;
  options.reserve_bytes = 16 << 10;
  options.zero_chunk_bytes = 32 << 10;
  return options;
}

inline EntryHeader TestAppend(uint32_t partition, uint64_t base_offset) {
  EntryHeader entry;
  entry.topic_id = TestId(1);
  entry.partition = partition;
  entry.type = static_cast<uint8_t>(EntryType::kAppend);
  entry.base_offset = base_offset;
  entry.end_offset = base_offset + 1;
  return entry;
}

inline EntryHeader TestMark(EntryType type, uint32_t partition, uint64_t end_offset) {
  EntryHeader entry;
  entry.topic_id = TestId(1);
  entry.partition = partition;
  entry.type = static_cast<uint8_t>(type);
  entry.end_offset = end_offset;
  return entry;
}

// Keeps what it was told, in order.
struct TestClient : JournalClient {
  struct Placed {
    uint64_t token, seq;
    uint32_t file;
  };
  std::vector<Placed> placed;
  std::vector<std::pair<uint64_t, uint64_t>> durable;  // token, seq
  std::vector<uint64_t> failed;
  absl::Status failure;

  void OnPlaced(uint64_t token, uint64_t seq, uint32_t file) override {
    placed.push_back({token, seq, file});
  }
  void OnDurable(uint64_t token, uint64_t seq) override { durable.emplace_back(token, seq); }
  void OnFailed(uint64_t token, const absl::Status& why) override {
    failed.push_back(token);
    failure = why;
  }
};

struct FoundFrame {
  Frame frame;
  std::string bytes;
  uint32_t file_number = 0;
  int64_t position = 0;
};

// All frames of a run on the medium (or as readers see them), by seq. Places that hold none are
// skipped block by block; bad payloads make a frame none.
inline std::map<uint64_t, FoundFrame> FindFrames(const sim::SimDisk& disk,
                                                 const JournalOptions& options,
                                                 bool durable = true) {
  std::map<uint64_t, FoundFrame> found;
  for (uint32_t index = 0; index < 64; ++index) {
    const std::string path = absl::StrCat(options.directory, "/", JournalFileName(index));
    const auto content = durable ? disk.DurableContent(path) : disk.Content(path);
    if (!content.has_value()) continue;
    const base::ByteView bytes = base::AsBytes(*content);
    const auto header = DecodeJournalFileHeader(bytes);
    if (!header.ok() || header->run != options.run) continue;
    FramePlace place;
    place.run = options.run;
    place.core = options.core;
    place.file_number = header->file_number;
    place.file_bytes = static_cast<int64_t>(bytes.size());
    place.dir_id = options.dir_id;
    for (size_t at = kJournalBlockBytes; at + kJournalBlockBytes <= bytes.size();) {
      place.position = static_cast<int64_t>(at);
      auto frame = DecodeFrame(bytes.subspan(at), place);
      const bool whole =
          frame.ok() &&
          std::all_of(frame->entries.begin(), frame->entries.end(), [&](const EntryHeader& entry) {
            return PayloadIsWhole(bytes.subspan(at), entry);
          });
      if (!whole) {
        at += kJournalBlockBytes;
        continue;
      }
      const size_t length = frame->header.frame_bytes;
      const uint64_t seq = frame->header.seq;
      found[seq] = {*std::move(frame), content->substr(at, length), header->file_number,
                    place.position};
      at += length;
    }
  }
  return found;
}

}  // namespace ringtail::log
