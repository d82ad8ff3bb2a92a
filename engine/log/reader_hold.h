// Counts a task among those that hold segments of a log, as long as it lives.
#pragma once

#include <cstddef>

#include "engine/task/sync.h"

namespace ringtail::log {

class ReaderHold {
 public:
  ReaderHold(size_t* readers, task::WaitList* changed) : readers_(readers), changed_(changed) {
    ++*readers_;
  }
  ReaderHold(const ReaderHold&) = delete;
  ReaderHold& operator=(const ReaderHold&) = delete;
  ~ReaderHold() {
    if (--*readers_ == 0) changed_->NotifyAll();
  }

 private:
  size_t* readers_;
  task::WaitList* changed_;
};

}  // namespace ringtail::log
