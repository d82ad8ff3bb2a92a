#include "tests/sim/world.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/random_bytes.h"
#include "tests/sim/backend.h"

namespace ringtail::sim {
namespace {

constexpr size_t kLinesKept = 60;

SimOptions WithSeed(uint64_t seed) {
  SimOptions options;
  options.seed = seed;
  return options;
}

// Member ids and topic ids are keys that maps are sorted by: with ids of the kernel's a run would
// not repeat.
class SeededBytes final : public base::RandomSource {
 public:
  explicit SeededBytes(uint64_t seed) : rng_(seed) {}
  void Fill(std::span<uint8_t> out) override {
    for (uint8_t& byte : out) byte = static_cast<uint8_t>(rng_.Next());
  }

 private:
  Rng rng_;
};

struct LivingWorld {
  const SimWorld* world;
  std::unique_ptr<SeededBytes> random;
};
std::vector<LivingWorld> living_worlds;

// What a failed RT_CHECK leaves behind is a stack; the seed and the last events are worth more.
void ReportLivingWorlds(int signal) {
  std::signal(signal, SIG_DFL);
  for (const LivingWorld& each : living_worlds) std::fputs(each.world->Report().c_str(), stderr);
  std::raise(signal);
}

}  // namespace

SimProcess::Fd* SimProcess::Find(int fd) {
  if (fd < 0 || static_cast<size_t>(fd) >= fds_.size()) return nullptr;
  Fd* entry = &fds_[static_cast<size_t>(fd)];
  return entry->kind == Fd::kNone ? nullptr : entry;
}

int SimProcess::Add(Fd entry) {
  for (size_t fd = 3; fd < fds_.size(); ++fd) {
    if (fds_[fd].kind != Fd::kNone) continue;
    fds_[fd] = std::move(entry);
    return static_cast<int>(fd);
  }
  fds_.push_back(std::move(entry));
  return static_cast<int>(fds_.size()) - 1;
}

void SimProcess::Remove(int fd) { fds_[static_cast<size_t>(fd)] = Fd(); }

size_t SimProcess::open_count() const {
  return static_cast<size_t>(
      std::ranges::count_if(fds_, [](const Fd& fd) { return fd.kind != Fd::kNone; }));
}

SimWorld::SimWorld(uint64_t seed) : SimWorld(WithSeed(seed)) {}

SimWorld::SimWorld(const SimOptions& options)
    : options_(options),
      rng_(options.seed),
      network_(options.network, Rng(options.seed + 1),
               [this](base::Nanos delay, const char* label, std::function<void()> run) {
                 After(delay, label, std::move(run));
               }) {
  if (living_worlds.empty()) std::signal(SIGABRT, ReportLivingWorlds);
  living_worlds.push_back({this, std::make_unique<SeededBytes>(options.seed + 2)});
  base::SetRandomSource(living_worlds.back().random.get());
  AddDisk(options.disk);
  network_.on_change = [this](Channel channel) { Changed(channel); };
  faults_.on_release = [this] { HungReleased(); };
}

SimWorld::~SimWorld() {
  RT_CHECK(backends_.empty() && actors_.empty());
  std::erase_if(living_worlds, [this](const LivingWorld& each) { return each.world == this; });
  base::SetRandomSource(living_worlds.empty() ? nullptr : living_worlds.back().random.get());
}

SimDisk& SimWorld::AddDisk(const DiskOptions& options) {
  disks_.push_back(std::make_unique<SimDisk>(options, Rng(rng_.Next())));
  return *disks_.back();
}

SimDisk& SimWorld::ForkDisk(const SimDisk& other) {
  disks_.push_back(std::make_unique<SimDisk>(other));
  return *disks_.back();
}

SimProcess& SimWorld::NewProcess(std::string name, SimDisk* disk, std::string host) {
  processes_.push_back(std::make_unique<SimProcess>());
  SimProcess& process = *processes_.back();
  process.id_ = static_cast<int>(processes_.size()) - 1;
  process.name_ = std::move(name);
  process.host_ = std::move(host);
  process.disk_ = disk == nullptr ? disks_[0].get() : disk;
  return process;
}

void SimWorld::Kill(SimProcess& process) {
  Trace("kill", process.id(), 0);
  paused_ = false;
  End(process, /*power_cut=*/false);
}

void SimWorld::PowerCut(const PowerCutPolicy& policy, SimDisk* disk) {
  if (disk == nullptr) disk = disks_[0].get();
  Trace("power cut", policy.kept, policy.unit_bytes);
  paused_ = false;
  for (const auto& process : processes_) {
    if (process->disk_ == disk) End(*process, /*power_cut=*/true);
  }
  disk->PowerCut(policy);
}

void SimWorld::End(SimProcess& process, bool power_cut) {
  if (!process.alive_) return;
  process.alive_ = false;
  for (const auto& [id, backend] : std::map(backends_)) {
    if (&backend->process_ == &process) backend->Die(power_cut);
  }
  for (const uint8_t* data : std::exchange(process.mappings_, {})) process.disk_->Unmap(data);
  for (size_t fd = 3; fd < process.fds_.size(); ++fd) {
    const SimProcess::Fd entry = process.fds_[fd];
    if (entry.kind == SimProcess::Fd::kNone) continue;
    process.Remove(static_cast<int>(fd));
    if (entry.kind == SimProcess::Fd::kFile) {
      process.disk_->Close(entry.inode);
    } else if (!power_cut || entry.kind == SimProcess::Fd::kPipe) {
      network_.Close(entry.channel);
    }
  }
  if (power_cut) network_.Vanish(process.id());
}

void SimWorld::After(base::Nanos delay, const char* label, std::function<void()> run) {
  events_.push(
      {now_ + delay, rng_.Next(), label, std::make_shared<std::function<void()>>(std::move(run))});
}

void SimWorld::Trace(const char* label, int64_t a, int64_t b) {
  uint64_t hash = trace_hash_;
  const auto mix = [&hash](uint64_t value) {
    hash = (hash ^ value) * 0x100000001b3ull;
    hash ^= hash >> 29;
  };
  for (const char* c = label; *c != 0; ++c) mix(static_cast<uint8_t>(*c));
  mix(static_cast<uint64_t>(a));
  mix(static_cast<uint64_t>(b));
  mix(static_cast<uint64_t>(now_));
  trace_hash_ = hash;
  // All of them where SIM_EVENTS is set: two runs of a seed that part can be compared.
  static const bool tell = std::getenv("SIM_EVENTS") != nullptr;
  if (tell) {
    std::fprintf(stderr, "%ld ns %s %ld %ld\n", static_cast<long>(now_), label,
                 static_cast<long>(a), static_cast<long>(b));
  }
  lines_.push_back({now_, label, a, b});
  if (lines_.size() > kLinesKept) lines_.pop_front();
}

std::string SimWorld::Report() const {
  std::string text = absl::StrCat("simulation seed ", options_.seed, ", step ", steps_, ", time ",
                                  now_ / 1000, " us; what happened last:\n");
  for (const Line& line : lines_) {
    absl::StrAppend(&text, "  ", line.when / 1000, " us ", line.label, " ", line.a, " ", line.b,
                    "\n");
  }
  return text;
}

bool SimWorld::RunEvent() {
  if (events_.empty() || events_.top().when > now_) return false;
  const Event event = events_.top();
  events_.pop();
  Trace(event.label, 0, 0);
  (*event.run)();
  return true;
}

void SimWorld::TakeTurn(Actor* actor) {
  actor->nudged_ = false;
  const auto number = static_cast<int64_t>(actor->number_);
  const int process = actor->process();
  const bool did_something = actor->Turn();
  Trace("turn", number, did_something);
  now_ += rng_.Between(0, options_.turn_ns_most);
  if (!did_something) return;
  for (Actor* other : actors_) {
    if (other->process() == process) other->nudged_ = true;
  }
}

bool SimWorld::MoveClock() {
  base::Nanos next = events_.empty() ? base::kNever : events_.top().when;
  for (const Actor* actor : actors_) next = std::min(next, actor->Deadline());
  if (next == base::kNever) return false;
  now_ = std::max(now_, next);
  return true;
}

bool SimWorld::Step() {
  ++steps_;
  std::vector<Actor*> able;
  for (Actor* actor : actors_) {
    if (actor->nudged_ || actor->Runnable() || actor->Deadline() <= now_) able.push_back(actor);
  }
  const bool due = !events_.empty() && events_.top().when <= now_;
  const uint64_t choices = able.size() + (due ? 1 : 0);
  if (choices == 0) return MoveClock();
  const uint64_t choice = rng_.Below(choices);
  if (choice == able.size()) return RunEvent();
  TakeTurn(able[choice]);
  return true;
}

bool SimWorld::RunUntil(const std::function<bool()>& done, uint64_t steps_max) {
  for (uint64_t i = 0; i < steps_max; ++i) {
    if (done()) return true;
    if (paused_ || !Step()) return false;
  }
  std::fprintf(stderr, "step limit reached: %s", Report().c_str());
  return false;
}

void SimWorld::RunFor(base::Nanos duration, uint64_t steps_max) {
  const base::Nanos end = now_ + duration;
  After(duration, "run for", [] {});
  RunUntil([&] { return now_ >= end; }, steps_max);
}

void SimWorld::AddActor(Actor* actor) {
  actor->number_ = next_actor_++;
  actors_.push_back(actor);
}

void SimWorld::RemoveActor(Actor* actor) { std::erase(actors_, actor); }

uint64_t SimWorld::AddBackend(SimBackend* backend) {
  backends_[next_backend_] = backend;
  return next_backend_++;
}

void SimWorld::RemoveBackend(uint64_t id) { backends_.erase(id); }

SimBackend* SimWorld::FindBackend(uint64_t id) {
  const auto found = backends_.find(id);
  return found == backends_.end() ? nullptr : found->second;
}

void SimWorld::WaitOn(Channel channel, uint64_t backend, uint64_t flight) {
  waiting_[channel].emplace_back(backend, flight);
}

void SimWorld::StopWaitingOn(Channel channel, uint64_t backend, uint64_t flight) {
  const auto found = waiting_.find(channel);
  if (found == waiting_.end()) return;
  std::erase(found->second, std::pair(backend, flight));
  if (found->second.empty()) waiting_.erase(found);
}

void SimWorld::Changed(Channel channel) {
  const auto found = waiting_.find(channel);
  if (found == waiting_.end()) return;
  for (const auto& [backend, flight] : std::vector(found->second)) {
    if (SimBackend* waiter = FindBackend(backend)) waiter->Retry(flight);
  }
}

void SimWorld::HungReleased() {
  for (const auto& [id, backend] : std::map(backends_)) backend->HungReleased();
}

}  // namespace ringtail::sim
