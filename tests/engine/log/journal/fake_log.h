// The least log that can be journaled: one segment file, one op at a time, and a list of what was
// acknowledged and must be found again.
#pragma once

#include <fcntl.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/io/file.h"
#include "engine/log/journal/journal_partition.h"
#include "engine/log/journal/journal_sync.h"
#include "gtest/gtest.h"

namespace ringtail::log {

class FakeLog : public JournaledLog {
 public:
  struct Sent {
    uint64_t op, seq, offset;
    uint32_t position;
    std::string bytes;
  };

  FakeLog(io::Backend& io, Journal& journal, JournalSync& sync, uint32_t number,
          std::string directory = "/data")
      : io_(io),
        journal_(journal),
        directory_(directory),
        path_(absl::StrCat(directory, "/t-", number, ".log")),
        partition_(std::make_unique<JournalPartition>(journal, *this, topic(), number)) {
    sync.Add(partition_.get());
  }
  static base::Uuid topic() {
    base::Uuid id;
    id.bytes.fill(7);
    return id;
  }

  task::Task<void> Open() {
    fd_ = *co_await io::OpenFile(io_, path_, O_RDWR | O_CREAT, 0644);
    RT_CHECK((co_await io::SyncDirectory(io_, directory_)).ok());
  }

  task::Task<void> Shut() { co_await io::CloseFile(io_, fd_); }

  // One append: the entry is staged and the segment written, neither waits for the other. False:
  // refused.
  task::Task<bool> Append(size_t bytes) {
    RT_CHECK(!busy_);
    busy_ = true;
    const bool sent = co_await AppendOnce(bytes);
    busy_ = false;
    co_return sent;
  }
  // TRUNCATE durable, then the file is cut.
  task::Task<bool> Truncate(uint64_t offset, uint32_t position) {
    RT_CHECK(!busy_);
    busy_ = true;
    EntryHeader entry = {.type = static_cast<uint8_t>(EntryType::kTruncate),
                         .end_offset = offset,
                         .position = position};
    const JournalPartition::Staged staged = poisoned || failed
                                                ? JournalPartition::Staged{StageError::kClosed}
                                                : partition_->Stage(entry, base::ByteView());
    if (staged.ok()) {
      std::erase_if(acked, [offset](const Sent& sent) { return sent.offset >= offset; });
      std::erase_if(sent_, [offset](const Sent& sent) { return sent.offset >= offset; });
      if ((co_await journal_.WaitDurable(staged.seq)).ok()) {
        ++truncations_;
        RT_CHECK(io_.Truncate(fd_, position) == 0);
        offset_ = offset;
        position_ = position;
        dirty_ = true;
        if (!poisoned) partition_->Applied(staged.op);
      }
    }
    busy_ = false;
    co_return staged.ok();
  }

  void OnDurable(uint64_t op, const LogEnd& end) override {
    EXPECT_FALSE(poisoned) << "an ack after a failed sync";
    EXPECT_GE(op, last_op_);
    last_op_ = op;
    for (size_t i = 0; i < sent_.size(); ++i) {
      if (sent_[i].op != op) continue;
      EXPECT_EQ(end.position, sent_[i].position + sent_[i].bytes.size());
      acked.push_back(sent_[i]);
      sent_.erase(sent_.begin() + static_cast<ptrdiff_t>(i));
      return;
    }
  }
  void OnJournalFailed(uint64_t op, const absl::Status& why) override { failed = true; }
  task::Task<absl::Status> SyncInPlace() override {
    ++syncs;
    dirty_ = false;
    co_return co_await io::SyncFile(io_, fd_, path_);
  }
  task::Task<absl::Status> StartWriteback() override {
    co_return co_await io::StartWriteback(io_, fd_, 0, 0, path_);
  }
  int64_t unsynced_bytes() const override { return 0; }
  uint64_t truncation_count() const override { return truncations_; }
  void OnSynced(uint64_t seq, const LogEnd& end) override {
    const auto info = io_.Stat(fd_);
    EXPECT_TRUE(info.ok());
    EXPECT_GE(info->size_bytes, end.position) << "R lies beyond the file";
    synced_seq = seq;
  }
  void OnPoisoned(const absl::Status& why) override { poisoned = true; }

  bool busy() const { return busy_; }
  uint64_t offset() const { return offset_; }
  uint32_t position() const { return position_; }
  const std::string& path() const { return path_; }
  JournalPartition& partition() { return *partition_; }

  std::vector<Sent> acked;
  bool poisoned = false;
  bool failed = false;
  uint64_t syncs = 0;
  uint64_t synced_seq = 0;

 private:
  task::Task<bool> AppendOnce(size_t bytes) {
    const std::string payload(bytes, static_cast<char>('a' + offset_ % 26));
    JournalPartition::Staged staged;
    for (;;) {
      if (poisoned || failed) co_return false;
      EntryHeader entry = {.type = static_cast<uint8_t>(EntryType::kAppend),
                           .base_offset = offset_,
                           .end_offset = offset_ + 1,
                           .position = position_};
      staged = partition_->Stage(entry, base::AsBytes(payload));
      if (staged.ok()) break;
      if (staged.error == StageError::kClosed) co_return false;
      co_await journal_.WaitForRoom(bytes, base::kNever);
    }
    sent_.push_back({staged.op, staged.seq, offset_, position_, payload});
    std::string copy = payload;
    iovec vector = {copy.data(), copy.size()};
    const int64_t written = co_await io::WriteFully(io_, fd_, &vector, 1, position_, 0);
    RT_CHECK(written == static_cast<int64_t>(bytes));
    dirty_ = true;
    ++offset_;
    position_ += static_cast<uint32_t>(bytes);
    partition_->Applied(staged.op);
    co_return true;
  }

  io::Backend& io_;
  Journal& journal_;
  std::string directory_;
  std::string path_;
  int fd_ = -1;
  std::unique_ptr<JournalPartition> partition_;
  bool busy_ = false;
  bool dirty_ = false;
  uint64_t offset_ = 0;
  uint32_t position_ = 0;
  uint64_t truncations_ = 0;
  uint64_t last_op_ = 0;
  std::vector<Sent> sent_;
};

}  // namespace ringtail::log
