#include "tests/sim/backend.h"

#include <fcntl.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/crc32c.h"
#include "engine/io/file.h"
#include "engine/task/scheduler.h"

namespace ringtail::sim {
namespace {

using io::Op;
using io::OpCode;

bool IsFileOp(OpCode code) { return code >= OpCode::kRead && code <= OpCode::kMakeDirectory; }

const char* Name(OpCode code) {
  static constexpr const char* kNames[] = {
      "nop",    "read",  "write",  "sync",    "sync all", "writeback",
      "alloc",  "drop",  "open",   "close",   "unlink",   "remove directory",
      "rename", "mkdir", "accept", "connect", "receive",  "receive provided",
      "send",   "poll",  "splice"};
  const auto index = static_cast<size_t>(code);
  return index < std::size(kNames) ? kNames[index] : "?";
}

uint32_t Checksum(const Op& op) {
  uint32_t crc = 0;
  for (uint32_t i = 0; i < op.vector_count; ++i) {
    crc = base::Crc32cExtend(
        crc, {static_cast<const uint8_t*>(op.vectors[i].iov_base), op.vectors[i].iov_len});
  }
  return crc;
}

// What the operation moves when all goes well; 0: it has no count.
int64_t WantedBytes(const Op& op) {
  switch (op.code) {
    case OpCode::kRead:
    case OpCode::kWrite:
    case OpCode::kReceive:
    case OpCode::kSend:
      return TotalBytes(op.vectors, op.vector_count);
    case OpCode::kSplice:
      return op.length;
    default:
      return 0;
  }
}

}  // namespace

absl::Status ErrorStatus(int64_t negative_errno, absl::string_view what, absl::string_view path) {
  return io::ErrnoStatus(static_cast<int>(-negative_errno), what, path);
}

int64_t TotalBytes(const iovec* vectors, size_t count) {
  int64_t sum = 0;
  for (size_t i = 0; i < count; ++i) sum += static_cast<int64_t>(vectors[i].iov_len);
  return sum;
}

std::vector<iovec> Slice(const iovec* vectors, size_t count, int64_t skip, int64_t bytes) {
  std::vector<iovec> part;
  for (size_t i = 0; i < count && bytes > 0; ++i) {
    const auto length = static_cast<int64_t>(vectors[i].iov_len);
    if (skip >= length) {
      skip -= length;
      continue;
    }
    const int64_t take = std::min(length - skip, bytes);
    part.push_back({static_cast<uint8_t*>(vectors[i].iov_base) + skip, static_cast<size_t>(take)});
    bytes -= take;
    skip = 0;
  }
  return part;
}

SimBackend::SimBackend(SimWorld& world, SimProcess& process, const SimBackendOptions& options)
    : world_(world),
      process_(process),
      options_(options),
      id_(world.AddBackend(this)),
      provided_memory_(options.provided_count * options.provided_bytes) {
  for (size_t i = options.provided_count; i > 0; --i) {
    provided_free_.push_back(static_cast<uint16_t>(i - 1));
  }
  features_ = {true, options.dont_cache, true, true, "simulation"};
}

SimBackend::~SimBackend() {
  DropOperations();
  world_.RemoveBackend(id_);
}

SimBackend::Flight& SimBackend::NewFlight(Op* op) {
  const uint64_t id = next_flight_++;
  Flight& flight = flights_[id];
  flight.id = id;
  flight.op = op;
  op->backend_state = id;
  ++counters_.submitted;
  CountInFlight(*op, +1);
  return flight;
}

void SimBackend::Submit(Op* op) {
  if (dead_) return;
  staged_.push_back(NewFlight(op).id);
}

void SimBackend::SubmitLinked(Op* first, Op* second) {
  if (dead_) return;
  const uint64_t head = NewFlight(first).id;
  Flight& tail = NewFlight(second);
  tail.stage = Stage::kLinked;
  flights_[head].next = tail.id;
  staged_.push_back(head);
}

void SimBackend::CountInFlight(const Op& op, int delta) {
  if (op.code == OpCode::kClose) return;
  if (SimProcess::Fd* fd = process_.Find(op.fd)) fd->in_flight += delta;
  if (op.code != OpCode::kSplice) return;
  if (SimProcess::Fd* fd = process_.Find(op.fd2)) fd->in_flight += delta;
}

void SimBackend::Cancel(Op* op) {
  const auto found = flights_.find(op->backend_state);
  if (found == flights_.end() || found->second.op != op) return;
  Flight& flight = found->second;
  switch (flight.stage) {
    case Stage::kStaged:
      std::erase(staged_, flight.id);
      return Complete(flight, -ECANCELED);
    case Stage::kWaiting:
      // With MSG_WAITALL, what has been moved counts (io_sendrecv_fail).
      return Complete(flight, flight.moved > 0 ? flight.moved : -ECANCELED);
    case Stage::kQueued:
      // Either it has not started yet, or it runs to its end.
      if (world_.rng().Chance(0.5)) Complete(flight, -ECANCELED);
      return;
    default:
      return;  // a hung device does not let go; the rest is over
  }
}

size_t SimBackend::Poll(base::Nanos deadline) {
  ++counters_.polls;
  if (deadline > world_.now()) ++counters_.waits;
  poll_deadline_ = deadline > world_.now() ? deadline : base::kNever;
  woken_.store(false);
  for (const uint64_t id : std::exchange(staged_, {})) {
    const auto found = flights_.find(id);
    if (found != flights_.end()) Begin(found->second);
  }
  size_t count = 0;
  for (const uint64_t id : std::exchange(completed_, {})) {
    const auto found = flights_.find(id);
    RT_CHECK(found != flights_.end());
    const Flight flight = std::move(found->second);
    flights_.erase(found);
    Op* op = flight.op;
    CountInFlight(*op, -1);
    op->result = static_cast<int32_t>(flight.result);
    op->provided = flight.provided;
    ++count;
    ++counters_.completed;
    if (op->waiter) {
      task::Scheduler::Current().Ready(op->waiter);
    } else if (op->on_complete != nullptr) {
      op->on_complete(op);
    }
  }
  return count;
}

void SimBackend::Begin(Flight& flight) {
  const Op& op = *flight.op;
  world_.Trace(Name(op.code), op.fd, op.position);
  if (op.code == OpCode::kNop) return Complete(flight, 0);
  std::string path = op.path == nullptr ? "" : op.path;
  if (op.path2 != nullptr) absl::StrAppend(&path, " ", op.path2);
  if (const SimProcess::Fd* fd = process_.Find(op.fd); fd != nullptr && op.path == nullptr) {
    path = fd->path;
  }
  flight.hit = MatchFault(op.code, path);
  if (op.code == OpCode::kWrite) flight.checksum = Checksum(op);
  const SimProcess::Fd* fd = process_.Find(op.fd);
  const bool syncs = op.code == OpCode::kSync || op.code == OpCode::kSyncAll;
  if (syncs && fd != nullptr && fd->kind == SimProcess::Fd::kFile) {
    flight.snapshot = process_.disk().StartSync(fd->inode);
  }
  if (flight.hit.kind == FaultKind::kHang) {
    flight.stage = Stage::kHung;
    return;
  }
  if (!IsFileOp(op.code)) {
    if (flight.hit.kind == FaultKind::kError) return Complete(flight, -flight.hit.error);
    return BeginSocketOp(flight);
  }
  Queue(flight, FileLatency(flight));
}

void SimBackend::Queue(Flight& flight, base::Nanos delay) {
  flight.stage = Stage::kQueued;
  if (flight.hit.kind == FaultKind::kDelay) delay += flight.hit.delay_ns;
  world_.After(delay, Name(flight.op->code), [world = &world_, backend = id_, id = flight.id] {
    if (SimBackend* self = world->FindBackend(backend)) self->Execute(id);
  });
}

void SimBackend::Execute(uint64_t id) {
  const auto found = flights_.find(id);
  if (found == flights_.end() || found->second.stage != Stage::kQueued) return;
  Flight& flight = found->second;
  if (flight.op->code == OpCode::kWrite) RT_CHECK(flight.checksum == Checksum(*flight.op));
  const int64_t result = DoFileOp(flight);
  if (world_.rng().Chance(0.7)) return Complete(flight, result);
  // Done, but the core hears of it later.
  flight.result = result;
  flight.stage = Stage::kCompleted;
  world_.After(world_.rng().Latency(500, 20'000), "late", [world = &world_, backend = id_, id] {
    SimBackend* self = world->FindBackend(backend);
    if (self == nullptr || !self->flights_.contains(id)) return;
    Flight& late = self->flights_[id];
    self->Complete(late, late.result);
  });
}

void SimBackend::Complete(Flight& flight, int64_t result) {
  if (flight.channel != 0) world_.StopWaitingOn(flight.channel, id_, flight.id);
  flight.channel = 0;
  flight.stage = Stage::kCompleted;
  flight.result = result;
  completed_.push_back(flight.id);
  world_.Trace("result", static_cast<int64_t>(flight.id), result);
  if (flight.next == 0) return;
  Flight& next = flights_[std::exchange(flight.next, 0)];
  if (next.stage != Stage::kLinked) return;  // cancelled
  const bool whole = result >= 0 && result >= WantedBytes(*flight.op);
  if (whole) {
    Begin(next);
  } else {
    Complete(next, -ECANCELED);
  }
}

void SimBackend::HungReleased() {
  for (auto& [id, flight] : flights_) {
    if (flight.stage != Stage::kHung || !world_.faults().released(flight.hit.rule)) continue;
    flight.hit = {};
    if (IsFileOp(flight.op->code)) {
      Queue(flight, FileLatency(flight));
    } else {
      BeginSocketOp(flight);
    }
  }
}

void SimBackend::Drop(bool power_cut) {
  for (auto& [id, flight] : flights_) {
    if (flight.channel != 0) world_.StopWaitingOn(flight.channel, id_, id);
    const bool handed_over = flight.stage == Stage::kQueued || flight.stage == Stage::kHung;
    if (handed_over && IsFileOp(flight.op->code)) ApplyPartly(flight, power_cut);
    CountInFlight(*flight.op, -1);
  }
  flights_.clear();
  staged_.clear();
  completed_.clear();
}

void SimBackend::DropOperations() {
  if (!dead_) Drop(/*power_cut=*/false);
}

void SimBackend::Die(bool power_cut) {
  Drop(power_cut);
  dead_ = true;
}

void SimBackend::ReleaseProvided(io::ProvidedBuffer buffer) {
  if (dead_) return;
  RT_CHECK(std::ranges::find(provided_free_, buffer.id) == provided_free_.end());
  // Whoever still reads it sees that it is not his any more.
  std::memset(buffer.data, 0xdd, options_.provided_bytes);
  provided_free_.push_back(buffer.id);
}

void SimBackend::Wake(io::Backend& target) {
  ++counters_.wakes_sent;
  static_cast<SimBackend&>(target).woken_.store(true);
}

}  // namespace ringtail::sim
