#include "engine/log/disk_reserve.h"

#include <algorithm>
#include <utility>

namespace ringtail::log {
namespace {

constexpr base::Nanos kLookAfter = base::kNanosPerSecond;
constexpr base::Nanos kLookWhileLow = base::kNanosPerSecond / 4;
// All cores together write at most this part of what is left before one of them looks.
constexpr int64_t kPart = 4;
constexpr int64_t kShareBytesMin = 64 << 10;
constexpr int64_t kHysteresisPart = 8;

constexpr int64_t kDefaultPart = 50;
constexpr int64_t kDefaultBytesMax = int64_t{512} << 20;

}  // namespace

int64_t DiskReserve::DefaultBytes(int64_t total_bytes) {
  return std::min(total_bytes / kDefaultPart, kDefaultBytesMax);
}

DiskReserve::DiskReserve(io::Backend& io, DiskReserveOptions options)
    : io_(io), options_(std::move(options)) {
  if (options_.bytes > 0) ReadSpace();
}

int64_t DiskReserve::spare_bytes() const {
  if (options_.bytes == 0) return INT64_MAX;
  return low_ ? 0 : std::max<int64_t>(available_bytes_ - options_.bytes - charged_bytes_, 0);
}

// Whether low() has changed.
bool DiskReserve::ReadSpace() {
  charged_bytes_ = 0;
  due_now_ = false;
  const absl::StatusOr<io::DiskSpace> space = io_.Space(options_.directory);
  if (!space.ok()) return false;
  total_bytes_ = space->total_bytes;
  available_bytes_ = space->available_bytes;
  const int64_t above = available_bytes_ - options_.bytes;
  share_bytes_ = std::max(above / kPart / static_cast<int64_t>(options_.cores), kShareBytesMin);
  const bool was_low = low_;
  low_ = was_low ? above < options_.bytes / kHysteresisPart : above < 0;
  return low_ != was_low;
}

void DiskReserve::Look() {
  if (options_.bytes == 0) return;
  const bool changed = ReadSpace();
  timer_.Disarm();
  if (low_) Schedule();
  if (changed && on_change_ != nullptr) on_change_(on_change_argument_);
}

void DiskReserve::Schedule() {
  task::Scheduler& scheduler = task::Scheduler::Current();
  due_now_ = charged_bytes_ >= share_bytes_;
  const base::Nanos after = due_now_ ? 0 : low_ ? kLookWhileLow : kLookAfter;
  timer_.Arm(scheduler, scheduler.now() + after);
}

void DiskReserve::LookDue(task::Timer* timer) { static_cast<LookTimer*>(timer)->reserve->Look(); }

}  // namespace ringtail::log
