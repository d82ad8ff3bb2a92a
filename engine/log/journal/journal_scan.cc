#include "engine/log/journal/journal_scan.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/logging.h"
#include "engine/base/result.h"
#include "engine/io/file.h"
#include "engine/log/journal/mutants.h"

namespace ringtail::log {
namespace {

// A file, read through a window that slides forward. Blocks that the device does not give are
// zeros, which no frame begins with: as lost as if they had changed.
class Window {
 public:
  Window(io::Backend& io, int fd, std::string path, int64_t file_bytes, int64_t read_bytes)
      : io_(io),
        fd_(fd),
        path_(std::move(path)),
        file_bytes_(file_bytes),
        read_bytes_(read_bytes) {}

  // `bytes` from `position` on, or up to the end of the file. What lies at `end` and behind it is
  // not read ahead.
  task::Task<absl::StatusOr<base::ByteView>> At(int64_t position, int64_t bytes, int64_t end) {
    bytes = std::min(bytes, file_bytes_ - position);
    if (position < at_ || position + bytes > at_ + static_cast<int64_t>(data_.size())) {
      const int64_t ahead = std::min(read_bytes_, end - position);
      const int64_t wanted = std::min(std::max(bytes, ahead), file_bytes_ - position);
      data_.resize(static_cast<size_t>(wanted));
      int64_t done = co_await Read(0, data_.size(), position);
      if (done == -EIO) done = co_await ReadBlocks(position);
      if (done < 0) co_return io::ErrnoStatus(static_cast<int>(-done), "read", path_);
      data_.resize(static_cast<size_t>(done));
      at_ = position;
    }
    const size_t skip = static_cast<size_t>(position - at_);
    co_return base::ByteView(data_).subspan(
        skip, std::min(static_cast<size_t>(bytes), data_.size() - skip));
  }

 private:
  task::Task<int64_t> Read(size_t at, size_t bytes, int64_t position) {
    iovec vector{data_.data() + at, bytes};
    co_return co_await io::ReadFully(io_, fd_, &vector, 1, position);
  }
  task::Task<int64_t> ReadBlocks(int64_t position) {
    size_t unreadable = 0;
    for (size_t at = 0; at < data_.size(); at += kJournalBlockBytes) {
      const size_t bytes = std::min(kJournalBlockBytes, data_.size() - at);
      const int64_t done = co_await Read(at, bytes, position + static_cast<int64_t>(at));
      if (done >= 0) continue;
      if (done != -EIO) co_return done;
      std::memset(data_.data() + at, 0, bytes);
      ++unreadable;
    }
    RT_LOG(kError, "{}: {} blocks from byte {} on cannot be read", path_, unreadable, position);
    co_return static_cast<int64_t>(data_.size());
  }

  io::Backend& io_;
  int fd_;
  std::string path_;
  int64_t file_bytes_;
  int64_t read_bytes_;
  int64_t at_ = 0;
  std::vector<uint8_t> data_;
};

// Where in a file frames are looked for: block by block, until there have been none for long; then
// in probes.
class Search {
 public:
  explicit Search(const JournalScanOptions& options) : options_(options) {}

  int64_t at() const { return at_; }
  // Nothing at this place or behind it is looked at next.
  int64_t end() const { return skipped_from_ > 0 ? probe_end_ : INT64_MAX; }
  // A frame of so many bytes is here. False: it came after skipped blocks, which come first now.
  bool Found(int64_t bytes) {
    if (skipped_from_ > 0) {
      all_until_ = at_;
      at_ = std::exchange(skipped_from_, 0);
      return false;
    }
    at_ += bytes;
    quiet_until_ = at_ + options_.quiet_bytes;
    return true;
  }
  void NotFound() {
    at_ += int64_t{kJournalBlockBytes};
    if (at_ < all_until_ || at_ < quiet_until_) return;
    if (skipped_from_ == 0) {
      skipped_from_ = probe_end_ = at_;
    }
    if (at_ < probe_end_) return;
    at_ += std::max<int64_t>(options_.probe_every_bytes - options_.probe_bytes, 0);
    probe_end_ = at_ + options_.probe_bytes;
  }

 private:
  const JournalScanOptions& options_;
  int64_t at_ = kJournalBlockBytes;
  int64_t quiet_until_ = int64_t{kJournalBlockBytes} + options_.quiet_bytes;
  int64_t all_until_ = 0;
  int64_t skipped_from_ = 0;  // 0: nothing has been skipped
  int64_t probe_end_ = 0;
};

struct FoundFrame {
  FrameHeader header;
  uint32_t file = 0;
  uint32_t block = 0;  // of the file, where it begins
  bool whole = true;
  std::vector<ScannedEntry> entries;
};

// Every frame of the file that fits its place. What does not is stepped over block by block: a
// frame that cannot be read does not hide those behind it. A file that nothing is known of (number
// 0): whatever its frames say of themselves.
task::Task<absl::Status> FindFrames(io::Backend& io, JournalScanOptions options,
                                    JournalFileFound file, uint32_t index,
                                    std::vector<FoundFrame>* found) {
  RT_CO_ASSIGN_OR_RETURN(const int fd, co_await io::OpenFile(io, file.path, O_RDONLY));
  Window window(io, fd, file.path, file.bytes, options.read_bytes);
  FramePlace place;
  place.run = options.run;
  place.core = options.core;
  place.file_number = file.number;
  place.file_bytes = file.bytes;
  place.dir_id = options.dir_id;
  absl::Status status;
  constexpr int64_t kBlock = kJournalBlockBytes;
  const int64_t end = file.end_block == 0 ? file.bytes : file.end_block * kBlock;
  for (Search search(options); search.at() + kBlock <= end;) {
    const int64_t at = search.at();
    place.position = at;
    auto bytes = co_await window.At(at, kBlock, search.end());
    status = bytes.status();
    if (!status.ok()) break;
    if (file.number == 0 && bytes->size() >= sizeof(FrameHeader)) {
      FrameHeader guess;
      std::memcpy(&guess, bytes->data(), sizeof(guess));
      place.run = guess.run;
      place.core = guess.core;
      place.file_number = guess.file_number;
    }
    const auto header = DecodeFrameHeader(*bytes, place);
    bool is_frame = false;
    if (header.ok()) {
      bytes = co_await window.At(at, header->frame_bytes, INT64_MAX);
      status = bytes.status();
      if (!status.ok()) break;
      auto frame = DecodeFrame(*bytes, place);
      is_frame = frame.ok();
      if (is_frame && search.Found(frame->header.frame_bytes)) {
        FoundFrame each;
        each.header = frame->header;
        each.file = index;
        each.block = static_cast<uint32_t>(at / kBlock);
        for (const EntryHeader& entry : frame->entries) {
          const bool whole = PayloadIsWhole(*bytes, entry);
          each.whole = each.whole && whole;
          const auto nth = static_cast<uint32_t>(each.entries.size());
          each.entries.push_back({entry, options.run, options.core, frame->header.seq, nth, index,
                                  at + entry.payload_offset, whole});
        }
        found->push_back(std::move(each));
      }
    }
    if (!is_frame) search.NotFound();
  }
  co_await io::CloseFile(io, fd);
  co_return status;
}

// Without its header a file is what the newest of its frames are of.
task::Task<absl::Status> IdentifyByFrames(io::Backend& io, base::Uuid dir_id,
                                          JournalFileFound* file) {
  JournalScanOptions options;
  options.dir_id = dir_id;
  std::vector<FoundFrame> frames;
  RT_CO_RETURN_IF_ERROR(co_await FindFrames(io, options, *file, 0, &frames));
  for (const FoundFrame& frame : frames) {
    const FrameHeader& header = frame.header;
    if (std::tie(header.run, header.file_number) < std::tie(file->run, file->number)) continue;
    file->run = header.run;
    file->core = header.core;
    file->number = header.file_number;
  }
  co_return absl::OkStatus();
}

// Which files of the run must have been there and are not, or not as a whole: their frames are
// lost, from the first that follows what is before.
class MissingFiles {
 public:
  MissingFiles(const std::vector<JournalFileFound>& files,
               const std::map<uint64_t, FoundFrame>& frames, const JournalScanOptions& options,
               uint32_t tail_file, uint64_t tail_seq)
      : files_(files),
        frames_(frames),
        options_(options),
        tail_named_(tail_file),
        tail_file_(std::max(tail_file, uint32_t{1})),
        tail_seq_(tail_seq) {}

  std::vector<SeqRange> Lost() const {
    std::vector<SeqRange> lost;
    const auto lose = [&](uint32_t number) {
      const SeqRange range = FramesOf(number);
      if (range.first <= range.last) lost.push_back(range);
    };
    const std::vector<uint32_t> missing = Missing();
    if (missing.size() > NewestUnused()) std::for_each(missing.begin(), missing.end(), lose);
    for (const JournalFileFound& file : files_) {
      if (IsLive(file) && file.cut_short) lose(file.number + 1);
    }
    return lost;
  }

 private:
  bool IsLive(const JournalFileFound& file) const {
    return file.run == options_.run && file.core == options_.core && file.number >= tail_file_;
  }
  // Numbers rise one by one. Up to where is told by the files that are there, by the checkpoint,
  // and by frames, which say how many files were ready.
  std::vector<uint32_t> Missing() const {
    std::set<uint32_t> numbers;
    uint32_t last = tail_named_;
    for (const JournalFileFound& file : files_) {
      if (!IsLive(file)) continue;
      numbers.insert(file.number);
      last = std::max(last, file.number);
    }
    for (const auto& [seq, frame] : frames_) {
      last = std::max(last, frame.header.file_number + FilesReady(frame.header));
    }
    std::vector<uint32_t> missing;
    for (uint32_t number = tail_file_; number <= last; ++number) {
      if (!numbers.contains(number)) missing.push_back(number);
    }
    return missing;
  }
  // Files that are whole but for their header, and have no live frame: each is one that was ready
  // and of which nothing is lost. Damage of a header is no damage.
  size_t NewestUnused() const {
    int64_t whole = kJournalFileBytesMin;
    for (const JournalFileFound& file : files_) whole = std::max(whole, file.bytes);
    return static_cast<size_t>(
        std::count_if(files_.begin(), files_.end(), [&](const JournalFileFound& file) {
          return file.header_lost && file.bytes == whole && !IsLive(file);
        }));
  }
  SeqRange FramesOf(uint32_t number) const {
    uint64_t first = std::max(tail_seq_, uint64_t{1});
    for (const auto& [seq, frame] : frames_) {
      if (frame.header.file_number < number) first = std::max(first, seq + 1);
    }
    const auto next = frames_.lower_bound(first);
    return {first, next == frames_.end() ? UINT64_MAX : next->first - 1};
  }

  const std::vector<JournalFileFound>& files_;
  const std::map<uint64_t, FoundFrame>& frames_;
  const JournalScanOptions& options_;
  uint32_t tail_named_;  // 0: none
  uint32_t tail_file_;
  uint64_t tail_seq_;
};

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
    file.header_lost = true;
    bool foreign = false;
    if (done == static_cast<int64_t>(block.size())) {
      const auto header = DecodeJournalFileHeader(block);
      if (absl::IsFailedPrecondition(header.status())) {
        co_return absl::FailedPreconditionError(
            absl::StrCat(file.path, ": ", header.status().message()));
      }
      foreign = header.ok() && header->dir_id != dir_id;
      if (header.ok() && !foreign) {
        file.run = header->run;
        file.core = header->core;
        file.number = header->file_number;
        file.header_lost = false;
        file.cut_short = file.bytes < static_cast<int64_t>(header->file_bytes);
      }
    }
    if (file.header_lost) RT_CO_RETURN_IF_ERROR(co_await IdentifyByFrames(io, dir_id, &file));
    // With frames of ours in it, only the header's block is from elsewhere.
    if (foreign && file.number == 0) {
      co_return absl::FailedPreconditionError(absl::StrCat(
          file.path, ": belongs to another data directory; move it away, or put back the ",
          "journal/ that belongs here"));
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
    if (file.run == 0) continue;
    if ((file.run != options.run || file.core != options.core) && !kMutantIgnoreRun) continue;
    if (file.number < tail_file) continue;
    RT_CO_RETURN_IF_ERROR(co_await FindFrames(io, options, file, i, &found));
  }
  std::map<uint64_t, FoundFrame> frames;
  scan.proven_seq = std::max(synced_seq, tail_seq == 0 ? 0 : tail_seq - 1);
  for (FoundFrame& frame : found) {
    if (frame.header.seq < tail_seq || frame.header.file_number < tail_file) continue;
    scan.proven_seq = std::max(scan.proven_seq, frame.header.durable_seq);
    frames.emplace(frame.header.seq, std::move(frame));
  }
  scan.lost = MissingFiles(files, frames, options, tail_file, tail_seq).Lost();
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
      uint32_t& end_block = files[frame.file].end_block;
      end_block = end_block == 0 ? frame.block : std::min(end_block, frame.block);
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
                                                                   uint32_t index, bool* gaps) {
  std::vector<FoundFrame> found;
  RT_CO_RETURN_IF_ERROR(co_await FindFrames(io, options, std::move(file), index, &found));
  std::vector<ScannedEntry> entries;
  uint64_t expected = found.empty() ? 0 : found.front().header.seq;
  for (FoundFrame& frame : found) {
    *gaps = *gaps || frame.header.seq != expected;
    expected = frame.header.seq + 1;
    std::move(frame.entries.begin(), frame.entries.end(), std::back_inserter(entries));
  }
  co_return entries;
}

}  // namespace ringtail::log
