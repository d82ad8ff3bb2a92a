// The two checkpoint slots of a core: written in turn, so that a torn write leaves the other. A
// writer belongs to one core; one Write() at a time.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/io/backend.h"
#include "engine/log/journal/journal_format.h"
#include "engine/task/task.h"

namespace ringtail::log {

// What a slot holds. NotFound, DataLoss, FailedPrecondition (a later version) name the file.
task::Task<absl::StatusOr<Checkpoint>> ReadCheckpointSlot(io::Backend& io,
                                                          std::string core_directory,
                                                          uint32_t slot);

class CheckpointWriter {
 public:
  // `core_directory` exists. The first Write goes to `next_slot` with `next_number`: recovery names
  // the older slot, and one more than the newest number it found.
  CheckpointWriter(io::Backend& io, std::string core_directory, uint32_t next_slot = 0,
                   uint64_t next_number = 1)
      : io_(io), directory_(std::move(core_directory)), slot_(next_slot), number_(next_number) {}
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  // Fills in the number; durable when it ends. After an error the next one goes to the same slot:
  // the other holds what counts.
  task::Task<absl::Status> Write(Checkpoint checkpoint);
  uint64_t written() const { return written_; }
  // The number of the newest durable one; 0: none yet.
  uint64_t durable_number() const { return durable_number_; }

 private:
  task::Task<absl::Status> WriteSlot(std::string path, std::string bytes);

  io::Backend& io_;
  std::string directory_;
  uint32_t slot_;
  uint64_t number_;
  uint64_t durable_number_ = 0;
  uint64_t written_ = 0;
  bool writing_ = false;
  bool named_[2] = {false, false};  // the slot's name was synced
};

}  // namespace ringtail::log
