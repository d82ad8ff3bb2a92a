#include "engine/log/journal/journal_scan.h"

#include <fcntl.h>

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/result.h"
#include "engine/io/file.h"
#include "engine/log/journal/mutants.h"

namespace ringtail::log {
namespace {

// A file, read through a window that slides forward.
class Window {
 public:
  Window(io::Backend& io, int fd, std::string path, int64_t file_bytes, int64_t read_bytes)
      : io_(io),
        fd_(fd),
        path_(std::move(path)),
        file_bytes_(file_bytes),
        read_bytes_(read_bytes) {}

  // `bytes` from `position` on, or up to the end of the file.
  task::Task<absl::StatusOr<base::ByteView>> At(int64_t position, int64_t bytes) {
    bytes = std::min(bytes, file_bytes_ - position);
    if (position < at_ || position + bytes > at_ + static_cast<int64_t>(data_.size())) {
      const int64_t wanted = std::min(std::max(bytes, read_bytes_), file_bytes_ - position);
      data_.resize(static_cast<size_t>(wanted));
      iovec vector{data_.data(), data_.size()};
      const int64_t done = co_await io::ReadFully(io_, fd_, &vector, 1, position);
      if (done < 0) co_return io::ErrnoStatus(static_cast<int>(-done), "read", path_);
      data_.resize(static_cast<size_t>(done));
      at_ = position;
    }
    const size_t skip = static_cast<size_t>(position - at_);
    co_return base::ByteView(data_).subspan(
        skip, std::min(static_cast<size_t>(bytes), data_.size() - skip));
  }

 private:
  io::Backend& io_;
  int fd_;
  std::string path_;
  int64_t file_bytes_;
  int64_t read_bytes_;
  int64_t at_ = 0;
  std::vector<uint8_t> data_;
};

struct FoundFrame {
  FrameHeader header;
  uint32_t file = 0;
  bool whole = true;
  std::vector<ScannedEntry> entries;
};

// Every frame of the file that fits its place. What does not is stepped over block by block: a
// frame that cannot be read does not hide those behind it.
task::Task<absl::Status> FindFrames(io::Backend& io, JournalScanOptions options,
                                    JournalFileFound file, uint32_t index,
                                    std::vector<FoundFrame>* found) {
  RT_CO_ASSIGN_OR_RETURN(const int fd, co_await io::OpenFile(io, file.path, O_RDONLY));
  Window window(io, fd, file.path, file.bytes, options.read_bytes);
  FramePlace place;
  place.run = options.run;
  place.core = options.core;
  place.file_bytes = file.bytes;
  place.dir_id = options.dir_id;
  absl::Status status;
  constexpr int64_t kBlock = kJournalBlockBytes;
  for (int64_t at = kBlock; at + kBlock <= file.bytes;) {
    place.position = at;
    place.file_number = file.number;
    auto bytes = co_await window.At(at, kBlock);
    status = bytes.status();
    if (!status.ok()) break;
    if (file.number == 0 && bytes->size() >= sizeof(FrameHeader)) {
      // The file's own header is lost: its frames name it.
      FrameHeader guess;
      std::memcpy(&guess, bytes->data(), sizeof(guess));
      place.file_number = guess.file_number;
    }
    const auto header = DecodeFrameHeader(*bytes, place);
    int64_t step = kBlock;
    if (header.ok()) {
      bytes = co_await window.At(at, header->frame_bytes);
      status = bytes.status();
      if (!status.ok()) break;
      auto frame = DecodeFrame(*bytes, place);
      if (frame.ok()) {
        FoundFrame each;
        each.header = frame->header;
        each.file = index;
        for (const EntryHeader& entry : frame->entries) {
          const bool whole = PayloadIsWhole(*bytes, entry);
          each.whole = each.whole && whole;
          const auto nth = static_cast<uint32_t>(each.entries.size());
          each.entries.push_back({entry, options.run, options.core, frame->header.seq, nth, index,
                                  at + entry.payload_offset, whole});
        }
        step = frame->header.frame_bytes;
        file.number = frame->header.file_number;
        found->push_back(std::move(each));
      }
    }
    at += step;
  }
  co_await io::CloseFile(io, fd);
  co_return status;
}

// A file that must have been there: its number lies between others, and no file without a readable
// header may be it. Frames from the first that follows what is before it on are lost.
void LoseMissingFiles(const std::vector<JournalFileFound>& files, uint32_t run, uint32_t core,
                      uint32_t tail_file, uint64_t tail_seq,
                      const std::map<uint64_t, FoundFrame>& frames, JournalScan* scan) {
  uint32_t last = 0;
  std::vector<uint32_t> numbers;
  for (const JournalFileFound& file : files) {
    if (file.run == 0) return;
    if (file.run != run || file.core != core) continue;
    numbers.push_back(file.number);
    last = std::max(last, file.number);
  }
  for (uint32_t number = std::max(tail_file, 1u); number <= std::max(last, tail_file); ++number) {
    if (std::find(numbers.begin(), numbers.end(), number) != numbers.end()) continue;
    uint64_t first = tail_seq;
    for (const auto& [seq, frame] : frames) {
      if (files[frame.file].number < number) first = std::max(first, seq + 1);
    }
    const auto next = frames.lower_bound(first);
    scan->lost.push_back({first, next == frames.end() ? UINT64_MAX : next->first - 1});
  }
}

}  // namespace

task::Task<absl::StatusOr<std::vector<JournalFileFound>>> ListJournalFiles(io::Backend& io,
                                                                           std::string directory,
                                                                           base::Uuid dir_id) {
  std::vector<JournalFileFound> files;
  RT_CO_ASSIGN_OR_RETURN(const auto entries, io.ListDirectory(directory));
  for (const io::DirectoryEntry& entry : entries) {
    uint32_t index = 0;
    if (entry.is_directory || !ParseJournalFileName(entry.name, &index)) continue;
    JournalFileFound file;
    file.path = absl::StrCat(directory, "/", entry.name);
    RT_CO_ASSIGN_OR_RETURN(const int fd, co_await io::OpenFile(io, file.path, O_RDONLY));
    std::vector<uint8_t> block(kJournalBlockBytes);
    iovec vector{block.data(), block.size()};
    const int64_t done = co_await io::ReadFully(io, fd, &vector, 1, 0);
    const auto info = io.Stat(fd);
    co_await io::CloseFile(io, fd);
    if (!info.ok()) co_return info.status();
    file.bytes = info->size_bytes;
    if (done == static_cast<int64_t>(block.size())) {
      const auto header = DecodeJournalFileHeader(block);
      if (absl::IsFailedPrecondition(header.status())) {
        co_return absl::FailedPreconditionError(
            absl::StrCat(file.path, ": ", header.status().message()));
      }
      if (header.ok() && header->dir_id != dir_id) {
        co_return absl::FailedPreconditionError(absl::StrCat(
            file.path, ": belongs to another data directory; move it away, or put back the ",
            "journal/ that belongs here"));
      }
      if (header.ok()) {
        file.run = header->run;
        file.core = header->core;
        file.number = header->file_number;
      }
    }
    files.push_back(std::move(file));
  }
  co_return files;
}

task::Task<absl::StatusOr<JournalScan>> ScanJournal(io::Backend& io, JournalScanOptions options,
                                                    std::vector<JournalFileFound> files,
                                                    uint32_t tail_file, uint64_t tail_seq,
                                                    uint64_t synced_seq) {
  JournalScan scan;
  std::vector<FoundFrame> found;
  for (uint32_t i = 0; i < files.size(); ++i) {
    const JournalFileFound& file = files[i];
    const bool readable = file.run != 0;
    if (readable && (file.run != options.run || file.core != options.core) && !kMutantIgnoreRun) {
      continue;
    }
    if (readable && file.number < tail_file) continue;
    RT_CO_RETURN_IF_ERROR(co_await FindFrames(io, options, file, i, &found));
  }
  std::map<uint64_t, FoundFrame> frames;
  scan.proven_seq = std::max(synced_seq, tail_seq == 0 ? 0 : tail_seq - 1);
  for (FoundFrame& frame : found) {
    if (frame.header.seq < tail_seq || frame.header.file_number < tail_file) continue;
    scan.proven_seq = std::max(scan.proven_seq, frame.header.durable_seq);
    frames.emplace(frame.header.seq, std::move(frame));
  }
  LoseMissingFiles(files, options.run, options.core, tail_file, tail_seq, frames, &scan);
  uint64_t expected = std::max<uint64_t>(tail_seq, 1);
  bool cut = false;
  for (auto& [seq, frame] : frames) {
    if (!cut && seq != expected) {
      // [expected, seq) is missing.
      cut = expected > scan.proven_seq && !kMutantFramesAfterTear;
      if (!cut) scan.lost.push_back({expected, seq - 1});
    }
    cut = cut || (!frame.whole && seq > scan.proven_seq && !kMutantFramesAfterTear);
    if (cut) {
      ++scan.frames_cut;
      continue;
    }
    ++scan.frames;
    if (!frame.whole) ++scan.frames_damaged;
    std::move(frame.entries.begin(), frame.entries.end(), std::back_inserter(scan.entries));
    expected = seq + 1;
  }
  if (!cut && expected <= scan.proven_seq) scan.lost.push_back({expected, scan.proven_seq});
  scan.files = std::move(files);
  co_return scan;
}

task::Task<absl::StatusOr<std::vector<ScannedEntry>>> ScanHeldFile(io::Backend& io,
                                                                   JournalScanOptions options,
                                                                   JournalFileFound file,
                                                                   uint32_t index) {
  std::vector<FoundFrame> found;
  RT_CO_RETURN_IF_ERROR(co_await FindFrames(io, options, std::move(file), index, &found));
  std::vector<ScannedEntry> entries;
  for (FoundFrame& frame : found) {
    std::move(frame.entries.begin(), frame.entries.end(), std::back_inserter(entries));
  }
  co_return entries;
}

}  // namespace ringtail::log
