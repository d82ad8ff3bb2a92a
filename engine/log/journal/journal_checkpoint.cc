#include "engine/log/journal/journal_checkpoint.h"

#include <fcntl.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/result.h"
#include "engine/io/file.h"

namespace ringtail::log {
namespace {

constexpr int64_t kSlotBytesMax = sizeof(CheckpointHeader) +
                                  int64_t{kCheckpointRecordsMax} * sizeof(CheckpointRecord) +
                                  int64_t{kCheckpointHeldMax} * sizeof(HeldFile);

std::string SlotPath(const std::string& directory, uint32_t slot) {
  return absl::StrCat(directory, "/", CheckpointFileName(slot));
}

}  // namespace

task::Task<absl::StatusOr<Checkpoint>> ReadCheckpointSlot(io::Backend& io,
                                                          std::string core_directory,
                                                          uint32_t slot) {
  const std::string path = SlotPath(core_directory, slot);
  const absl::StatusOr<std::string> bytes = co_await io::ReadWholeFile(io, path, kSlotBytesMax);
  if (absl::IsOutOfRange(bytes.status())) {
    co_return absl::DataLossError(bytes.status().message());
  }
  if (!bytes.ok()) co_return bytes.status();
  absl::StatusOr<Checkpoint> checkpoint = DecodeCheckpoint(base::AsBytes(*bytes));
  if (!checkpoint.ok()) {
    co_return absl::Status(checkpoint.status().code(),
                           absl::StrCat(path, ": ", checkpoint.status().message()));
  }
  co_return checkpoint;
}

task::Task<absl::Status> CheckpointWriter::Write(Checkpoint checkpoint) {
  RT_CHECK(!writing_);
  writing_ = true;
  checkpoint.header.number = number_;
  absl::Status status =
      co_await WriteSlot(SlotPath(directory_, slot_), EncodeCheckpoint(checkpoint));
  if (status.ok() && !named_[slot_]) status = co_await io::SyncDirectory(io_, directory_);
  writing_ = false;
  if (!status.ok()) co_return status;
  named_[slot_] = true;
  ++written_;
  durable_number_ = number_++;
  slot_ = 1 - slot_;
  co_return absl::OkStatus();
}

task::Task<absl::Status> CheckpointWriter::WriteSlot(std::string path, std::string bytes) {
  const absl::StatusOr<int> fd = co_await io::OpenFile(io_, path, O_WRONLY | O_CREAT, 0644);
  if (!fd.ok()) co_return fd.status();
  iovec vector = {bytes.data(), bytes.size()};
  const int64_t written = co_await io::WriteFully(io_, *fd, &vector, 1, 0, 0);
  absl::Status status;
  if (written < 0) {
    status = io::ErrnoStatus(static_cast<int>(-written), "write", path);
  } else if (static_cast<size_t>(written) != bytes.size()) {
    status = io::ErrnoStatus(ENOSPC, "write", path);
  } else {
    status = co_await io::SyncFile(io_, *fd, path);
  }
  co_await io::CloseFile(io_, *fd);
  co_return status;
}

}  // namespace ringtail::log
