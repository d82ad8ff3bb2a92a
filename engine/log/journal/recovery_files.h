// The segments of one partition, as recovery sees and changes them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/io/backend.h"
#include "engine/log/journal/recovery_chain.h"
#include "engine/task/task.h"

namespace ringtail::log {

class SegmentFiles : public SegmentEvidence {
 public:
  SegmentFiles(io::Backend& io, std::string directory)
      : io_(io), directory_(std::move(directory)) {}

  // Reads which .log files there are. NotFound without the directory.
  absl::Status List();
  const std::map<uint64_t, int64_t>& sizes() const { return sizes_; }  // by base
  // Whether all up to `place` is there, or was removed as it lies below the log's start.
  bool Reaches(const LogEnd& place, uint64_t log_start) const;
  // Whether a log that ends at `end` has its first file: the one with log_start, or one before.
  bool BeginsBy(uint64_t log_start, const LogEnd& end) const;
  std::string WhatIsMissing(uint64_t log_start) const;
  std::string PathOf(uint64_t base) const;

  task::Task<bool> Holds(const EntryHeader& entry) override;
  task::Task<bool> Connects(LogEnd from, LogEnd to, std::map<uint64_t, uint32_t>* lengths) override;

  // Changes; all are the same when they are made again. Synced by Sync().
  //
  // Writes that continue each other are gathered and made as one, to a file that stays open: an
  // entry each, they would be four operations each (1 GiB of 1 KiB records: minutes). Returns room
  // for what is to be written there, which the caller fills before the next call. Before anything
  // else is done Flush(), or, after an error here or of the caller's, Discard().
  task::Task<absl::StatusOr<base::MutableByteView>> RoomToWrite(uint64_t base, int64_t position,
                                                                size_t bytes);
  task::Task<absl::Status> Flush();
  task::Task<void> Discard();
  task::Task<absl::Status> Cut(uint64_t base, int64_t bytes);
  task::Task<absl::Status> Remove(uint64_t base);
  task::Task<absl::Status> Sync(uint64_t base);
  task::Task<absl::Status> SyncNames();

 private:
  task::Task<absl::StatusOr<int>> Open(uint64_t base, int flags);
  task::Task<absl::Status> WriteGathered();
  task::Task<absl::StatusOr<std::string>> Read(uint64_t base, int64_t position, int64_t bytes);

  io::Backend& io_;
  std::string directory_;
  std::map<uint64_t, int64_t> sizes_;
  // What RoomToWrite() has gathered, for the segment that is open.
  int write_fd_ = -1;
  uint64_t write_base_ = 0;
  int64_t write_position_ = 0;
  std::vector<uint8_t> write_buffer_;
  size_t gathered_ = 0;  // bytes of it
};

}  // namespace ringtail::log
