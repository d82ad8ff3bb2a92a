// Whole starts over a data directory whose journal/ was changed at will: no crash, nothing large
// allocated, nothing changed outside the data directory. A life of the simulation made the
// directory; the input is a list of changes, after each of which checksums may be set right, so
// that what lies behind them is reached.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "engine/base/check.h"
#include "engine/base/crc32c.h"
#include "tests/engine/log/journal/life.h"

namespace ringtail::log {
namespace {

struct Past {
  std::vector<Known> known;
  std::map<std::string, std::string> files;
  std::vector<std::string> journal;  // names of those of journal/
  size_t bytes = 0;
};

Past MakePast() {
  Past past;
  Life life(7);
  RunAndCrash(life, 7, {});
  const sim::SimDisk& disk = life.machine().world().disk();
  for (const std::string& path : FilesBelow(disk, "/data")) {
    past.files[path] = disk.Content(path).value_or("");
    past.bytes += past.files[path].size();
    if (absl::StrContains(path, "/journal/")) past.journal.push_back(path);
  }
  past.known = life.known();
  return past;
}

class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  bool empty() const { return at_ >= size_; }
  uint64_t Number(size_t bytes) {
    uint64_t value = 0;
    for (size_t i = 0; i < bytes && at_ < size_; ++i) value |= uint64_t{data_[at_++]} << (8 * i);
    return value;
  }

 private:
  const uint8_t* data_;
  size_t size_;
  size_t at_ = 0;
};

void SetCrc(std::string* bytes, size_t at, uint32_t crc) {
  std::memcpy(bytes->data() + at + 4, &crc, sizeof(crc));
}

// Of the struct that begins at `at`, as far as there is one.
void Mend(const std::string& path, std::string* bytes, size_t at) {
  const base::ByteView all = base::AsBytes(*bytes);
  const auto has = [&](size_t wanted) { return at <= all.size() && all.size() - at >= wanted; };
  if (absl::EndsWith(path, "MANIFEST")) {
    if (has(64)) SetCrc(bytes, at, base::Crc32c(all.subspan(at + 8, 56)));
  } else if (absl::StrContains(path, "checkpoint.")) {
    CheckpointHeader header;
    if (!has(sizeof(header))) return;
    std::memcpy(&header, all.data() + at, sizeof(header));
    const size_t end = sizeof(header) + size_t{header.records} * sizeof(CheckpointRecord) +
                       size_t{header.held} * sizeof(HeldFile);
    if (has(end)) SetCrc(bytes, at, base::Crc32c(all.subspan(at + 8, end - 8)));
  } else if (at == 0) {
    if (has(kJournalBlockBytes)) {
      SetCrc(bytes, at, base::Crc32c(all.subspan(at + 8, kJournalBlockBytes - 8)));
    }
  } else {
    FrameHeader header;
    if (!has(sizeof(header))) return;
    std::memcpy(&header, all.data() + at, sizeof(header));
    const size_t table = size_t{header.entry_count} * sizeof(EntryHeader);
    if (!has(size_t{header.table_offset} + table)) return;
    SetCrc(bytes, at,
           base::Crc32cExtend(base::Crc32c(all.subspan(at + 8, 56)),
                              all.subspan(at + header.table_offset, table)));
  }
}

void Change(const Past& past, Input* input, std::map<std::string, std::string>* files) {
  const std::string& path = past.journal[input->Number(1) % past.journal.size()];
  std::string& bytes = (*files)[path];
  const uint64_t what = input->Number(1);
  if (what == 255) {
    bytes.resize(input->Number(3) % (512 << 10));
    return;
  }
  if (what == 254) {
    bytes = past.files.at(past.journal[input->Number(1) % past.journal.size()]);
    return;
  }
  if (bytes.empty()) return;
  const size_t block = input->Number(1) * kJournalBlockBytes % bytes.size() / kJournalBlockBytes *
                       kJournalBlockBytes;
  const size_t at = block + input->Number(2) % std::min(kJournalBlockBytes, bytes.size() - block);
  for (uint64_t i = 0; i < 1 + what % 8 && at + i < bytes.size(); ++i) {
    bytes[at + i] = static_cast<char>(input->Number(1));
  }
  if (what % 2 == 0) Mend(path, &bytes, block);
}

}  // namespace
}  // namespace ringtail::log

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ringtail::log;
  static const Past* past = new Past(MakePast());
  std::map<std::string, std::string> files = past->files;
  Input input(data, size);
  const bool accept = (input.Number(1) & 1) != 0;
  for (int i = 0; i < 16 && !input.empty(); ++i) Change(*past, &input, &files);
  SimMachine machine(1);
  ringtail::sim::SimDisk& disk = machine.world().disk();
  disk.Put("/outside/file", "as it was");
  for (const auto& [path, bytes] : files) disk.Put(path, bytes);
  std::vector<Known> known = past->known;
  for (int start = 0; start < 2; ++start) {
    Stack stack(machine, known, {.damaged = true, .accept_journal_loss = accept});
    const auto started = machine.TryRun(stack.Start());
    RT_CHECK(started.has_value());
    machine.Kill();
    machine.Start();
  }
  RT_CHECK(disk.Content("/outside/file") == "as it was");
  size_t bytes = 0;
  for (const std::string& path : FilesBelow(disk, "/")) {
    RT_CHECK(absl::StartsWith(path, "//data/") || absl::StartsWith(path, "//outside/file"));
    if (absl::EndsWith(path, ".log")) continue;  // may be long and have holes
    bytes += disk.Content(path.substr(1)).value_or("").size();
  }
  RT_CHECK(bytes <= past->bytes + (8u << 20));
  return 0;
}
