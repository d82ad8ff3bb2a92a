#include "engine/log/journal/recovery_files.h"

#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/crc32c.h"
#include "engine/base/result.h"
#include "engine/io/file.h"
#include "engine/log/batch.h"
#include "engine/log/segment_name.h"

namespace ringtail::log {
namespace {

constexpr size_t kGatherBytes = 1 << 20;

}  // namespace

std::string SegmentFiles::PathOf(uint64_t base) const {
  const base::Offset offset(static_cast<int64_t>(base));
  return absl::StrCat(directory_, "/", SegmentFileName(offset, kLogSuffix));
}

absl::Status SegmentFiles::List() {
  RT_ASSIGN_OR_RETURN(const auto entries, io_.ListDirectory(directory_));
  for (const io::DirectoryEntry& entry : entries) {
    base::Offset offset;
    if (entry.is_directory || !ParseSegmentFileName(entry.name, kLogSuffix, &offset)) continue;
    const auto base = static_cast<uint64_t>(offset.value());
    RT_ASSIGN_OR_RETURN(const io::FileInfo info, io_.StatPath(PathOf(base)));
    sizes_[base] = info.size_bytes;
  }
  return absl::OkStatus();
}

bool SegmentFiles::Reaches(const LogEnd& place, uint64_t log_start) const {
  if (place.position == 0) return true;
  const auto found = sizes_.find(place.segment_base);
  if (found == sizes_.end()) return log_start >= place.offset;
  return found->second >= int64_t{place.position};
}

bool SegmentFiles::BeginsBy(uint64_t log_start, const LogEnd& end) const {
  if (end.offset <= log_start) return true;
  return !sizes_.empty() && sizes_.begin()->first <= log_start;
}

std::string SegmentFiles::WhatIsMissing(uint64_t log_start) const {
  return absl::StrCat("the segments from its start, offset ", log_start, ", to ",
                      sizes_.empty() ? std::string("its end") : PathOf(sizes_.begin()->first),
                      " are missing");
}

task::Task<absl::StatusOr<int>> SegmentFiles::Open(uint64_t base, int flags) {
  return io::OpenFile(io_, PathOf(base), flags);
}

task::Task<absl::StatusOr<std::string>> SegmentFiles::Read(uint64_t base, int64_t position,
                                                           int64_t bytes) {
  RT_CO_ASSIGN_OR_RETURN(const int fd, co_await Open(base, O_RDONLY));
  std::string data(static_cast<size_t>(bytes), '\0');
  iovec vector{data.data(), data.size()};
  const int64_t done = co_await io::ReadFully(io_, fd, &vector, 1, position);
  co_await io::CloseFile(io_, fd);
  if (done < 0) co_return io::ErrnoStatus(static_cast<int>(-done), "read", PathOf(base));
  data.resize(static_cast<size_t>(done));
  co_return data;
}

task::Task<bool> SegmentFiles::Holds(const EntryHeader& entry) {
  const auto file = sizes_.find(entry.segment_base);
  if (file == sizes_.end() ||
      file->second < int64_t{entry.position} + int64_t{entry.payload_bytes}) {
    co_return false;
  }
  const auto bytes = co_await Read(entry.segment_base, entry.position, entry.payload_bytes);
  co_return bytes.ok() && bytes->size() ==
                              entry.payload_bytes&& base::Crc32c(base::AsBytes(*bytes)) ==
                              entry.payload_crc;
}

task::Task<bool> SegmentFiles::Connects(LogEnd from, LogEnd to,
                                        std::map<uint64_t, uint32_t>* lengths) {
  std::map<uint64_t, uint32_t> passed;
  BatchRules rules = BatchRules::Verbatim();
  rules.check_crc = true;
  while (from.segment_base != to.segment_base || from.position != to.position) {
    const auto file = sizes_.find(from.segment_base);
    if (file == sizes_.end()) co_return false;
    const bool last = from.segment_base == to.segment_base;
    if (last && file->second < int64_t{to.position}) co_return false;
    const int64_t end = last ? int64_t{to.position} : file->second;
    const int64_t left = end - from.position;
    absl::StatusOr<std::string> bytes = std::string();
    if (left >= static_cast<int64_t>(kBatchHeaderBytes)) {
      bytes = co_await Read(from.segment_base, from.position, kBatchHeaderBytes);
      if (!bytes.ok()) co_return false;
      const auto header = ParseBatchHeader(base::AsBytes(*bytes));
      const int64_t size = header.ok() ? static_cast<int64_t>(header.batch.size_bytes()) : left + 1;
      if (size <= left) {
        bytes = co_await Read(from.segment_base, from.position, size);
        if (!bytes.ok()) co_return false;
        const auto batch = ParseBatch(base::AsBytes(*bytes));
        if (batch.ok() && ValidateBatch(batch.batch, rules) == BatchError::kNone &&
            batch.batch.base_offset().value() >= static_cast<int64_t>(from.offset)) {
          from.offset = static_cast<uint64_t>(batch.batch.next_offset().value());
          from.position += static_cast<uint32_t>(size);
          continue;
        }
      }
    }
    // No more of this segment: the next one, if that is named after where this one ends.
    const auto next = sizes_.upper_bound(from.segment_base);
    if (last || next == sizes_.end() || next->first > to.segment_base ||
        next->first < from.offset) {
      co_return false;
    }
    passed[from.segment_base] = from.position;
    from.segment_base = next->first;
    from.position = 0;
  }
  if (from.offset > to.offset) co_return false;
  for (const auto& [base, bytes] : passed) (*lengths)[base] = bytes;
  co_return true;
}

task::Task<absl::StatusOr<base::MutableByteView>> SegmentFiles::RoomToWrite(uint64_t base,
                                                                            int64_t position,
                                                                            size_t bytes) {
  const int64_t gathered_end = write_position_ + static_cast<int64_t>(gathered_);
  const bool continues = base == write_base_ && position == gathered_end;
  if (gathered_ > 0 && (!continues || gathered_ + bytes > kGatherBytes)) {
    RT_CO_RETURN_IF_ERROR(co_await WriteGathered());
  }
  if (write_fd_ >= 0 && base != write_base_) co_await Discard();
  if (write_fd_ < 0) {
    const bool made = !sizes_.contains(base);
    RT_CO_ASSIGN_OR_RETURN(write_fd_, co_await Open(base, O_RDWR | (made ? O_CREAT : 0)));
    write_base_ = base;
  }
  if (gathered_ == 0) write_position_ = position;
  if (write_buffer_.size() < gathered_ + bytes) {
    write_buffer_.resize(std::max(gathered_ + bytes, std::min(2 * gathered_, kGatherBytes)));
  }
  const auto room = base::MutableByteView(write_buffer_).subspan(gathered_, bytes);
  gathered_ += bytes;
  co_return room;
}

task::Task<absl::Status> SegmentFiles::WriteGathered() {
  iovec vector{write_buffer_.data(), gathered_};
  const auto wanted = static_cast<int64_t>(std::exchange(gathered_, 0));
  const int64_t done = co_await io::WriteFully(io_, write_fd_, &vector, 1, write_position_, 0);
  if (done < wanted) {
    const int error = done < 0 ? static_cast<int>(-done) : ENOSPC;
    co_return io::ErrnoStatus(error, "write", PathOf(write_base_));
  }
  int64_t& size = sizes_[write_base_];
  size = std::max(size, write_position_ + done);
  co_return absl::OkStatus();
}

task::Task<absl::Status> SegmentFiles::Flush() {
  absl::Status status;
  if (gathered_ > 0) status = co_await WriteGathered();
  co_await Discard();
  co_return status;
}

task::Task<void> SegmentFiles::Discard() {
  gathered_ = 0;
  if (write_fd_ >= 0) co_await io::CloseFile(io_, std::exchange(write_fd_, -1));
}

task::Task<absl::Status> SegmentFiles::Cut(uint64_t base, int64_t bytes) {
  RT_CO_ASSIGN_OR_RETURN(const int fd, co_await Open(base, O_RDWR));
  const int error = io_.Truncate(fd, bytes);
  co_await io::CloseFile(io_, fd);
  if (error != 0) co_return io::ErrnoStatus(-error, "truncate", PathOf(base));
  sizes_[base] = bytes;
  co_return absl::OkStatus();
}

task::Task<absl::Status> SegmentFiles::Remove(uint64_t base) {
  sizes_.erase(base);
  const absl::Status removed = co_await io::Unlink(io_, PathOf(base));
  co_return absl::IsNotFound(removed) ? absl::OkStatus() : removed;
}

task::Task<absl::Status> SegmentFiles::Sync(uint64_t base) {
  RT_CO_ASSIGN_OR_RETURN(const int fd, co_await Open(base, O_RDWR));
  const absl::Status synced = co_await io::SyncFile(io_, fd, PathOf(base));
  co_await io::CloseFile(io_, fd);
  co_return synced;
}

// A file's name may be as unsynced as its bytes, though this run did not make it.
task::Task<absl::Status> SegmentFiles::SyncNames() {
  co_return co_await io::SyncDirectory(io_, directory_);
}

}  // namespace ringtail::log
