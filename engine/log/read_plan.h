// What a reader is given: a range of a segment's file, whole batches, and a pin that keeps the
// descriptor open. The bytes in the range do not change while the pin lives.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "engine/base/types.h"
#include "engine/core/core.h"
#include "engine/core/mailbox.h"
#include "engine/log/file_cache.h"
#include "engine/task/intrusive_list.h"
#include "engine/task/sync.h"

namespace ringtail::log {

class PinTable;
class LogPins;

// Lives on the core that owns the log, wherever its ReadPin is.
struct PinRecord {
  struct ReleaseMessage : core::Message {
    PinRecord* record = nullptr;
  };
  struct InTable : task::ListNode {
    PinRecord* record = nullptr;
  };
  PinTable* table = nullptr;
  FilePin file;
  LogPins* log = nullptr;  // null once the log is gone
  base::Offset end;        // the range's bytes belong to offsets below
  InTable in_log;
  ReleaseMessage release;
};

// Move-only; may be moved to another core and destroyed there: the record travels home by mailbox.
class ReadPin {
 public:
  ReadPin() = default;
  ReadPin(ReadPin&& other) noexcept : record_(std::exchange(other.record_, nullptr)) {}
  ReadPin& operator=(ReadPin&& other) noexcept {
    std::swap(record_, other.record_);
    return *this;
  }
  ~ReadPin() { Release(); }
  void Release();
  explicit operator bool() const { return record_ != nullptr; }

 private:
  friend class LogPins;
  explicit ReadPin(PinRecord* record) : record_(record) {}
  PinRecord* record_ = nullptr;
};

// The pins of one log, so that a truncation can wait for those above its point.
class LogPins {
 public:
  explicit LogPins(PinTable& table) : table_(table) {}
  LogPins(const LogPins&) = delete;
  LogPins& operator=(const LogPins&) = delete;
  ~LogPins();
  ReadPin Take(FilePin file, base::Offset end);
  bool AnyAbove(base::Offset end);
  size_t count() const { return count_; }
  task::WaitList& released() { return released_; }

 private:
  friend class PinTable;
  PinTable& table_;
  size_t count_ = 0;
  task::IntrusiveList<PinRecord::InTable> records_;
  task::WaitList released_;
};

// Per core; keeps records for reuse. Outlives every pin.
class PinTable {
 public:
  explicit PinTable(core::Core* owner) : owner_(owner) {}
  PinTable(const PinTable&) = delete;
  PinTable& operator=(const PinTable&) = delete;
  ~PinTable();
  size_t count() const { return count_; }

 private:
  friend class ReadPin;
  friend class LogPins;
  PinRecord* Get();
  void ReleaseHere(PinRecord* record);
  core::Core* owner_;
  size_t count_ = 0;
  std::vector<std::unique_ptr<PinRecord>> all_;
  std::vector<PinRecord*> free_;
};

struct ReadPlan {
  ReadPin pin;  // none where bytes is 0
  int fd = -1;  // plain descriptor, valid on any core while `pin` lives
  base::Position position;
  int64_t bytes = 0;
  base::Offset base_offset;  // no record in the range is below it
  base::Offset next_offset;  // where the next plan starts; the offset asked for where bytes is 0
};

}  // namespace ringtail::log
