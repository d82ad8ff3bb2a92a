#include "engine/log/read_plan.h"

#include "engine/base/check.h"
#include "engine/task/scheduler.h"

namespace ringtail::log {

void ReadPin::Release() {
  PinRecord* record = std::exchange(record_, nullptr);
  if (record == nullptr) return;
  PinTable& table = *record->table;
  if (table.owner_ == nullptr) {
    table.ReleaseHere(record);
    return;
  }
  // A core that is being torn down has no mailboxes left: the table takes its records with it.
  if (!task::Scheduler::HasCurrent()) return;
  core::Core& here = core::Core::Current();
  if (&here == table.owner_) {
    table.ReleaseHere(record);
  } else {
    here.Send(table.owner_->id(), &record->release);
  }
}

LogPins::~LogPins() {
  while (PinRecord::InTable* node = records_.PopFront()) node->record->log = nullptr;
}

ReadPin LogPins::Take(FilePin file, base::Offset end) {
  PinRecord* record = table_.Get();
  record->file = std::move(file);
  record->log = this;
  record->end = end;
  records_.PushBack(record->in_log);
  ++count_;
  return ReadPin(record);
}

bool LogPins::AnyAbove(base::Offset end) {
  bool any = false;
  records_.ForEach([&](PinRecord::InTable& node) { any |= node.record->end > end; });
  return any;
}

PinTable::~PinTable() = default;

PinRecord* PinTable::Get() {
  ++count_;
  if (!free_.empty()) {
    PinRecord* record = free_.back();
    free_.pop_back();
    return record;
  }
  all_.push_back(std::make_unique<PinRecord>());
  PinRecord* record = all_.back().get();
  record->table = this;
  record->in_log.record = record;
  record->release.record = record;
  record->release.run = [](core::Message* message) {
    PinRecord* released = static_cast<PinRecord::ReleaseMessage*>(message)->record;
    released->table->ReleaseHere(released);
  };
  return record;
}

void PinTable::ReleaseHere(PinRecord* record) {
  record->file.Release();
  if (record->log != nullptr) {
    record->in_log.Unlink();
    --record->log->count_;
    record->log->released_.NotifyAll();
    record->log = nullptr;
  }
  --count_;
  free_.push_back(record);
}

}  // namespace ringtail::log
