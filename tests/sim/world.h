// The world of a simulation: one seed, one clock, one queue of events, and all that lives in it:
// disks, the network, processes with their backends, and the cores ("actors") that take turns in
// the one thread of the test.
//
// Step() does one thing, chosen by the seed among all that could happen now: an event that is due,
// or the turn of a core that has something to do. Only when there is neither does the clock move
// on, to the next event or deadline. So a run is a function of its seed: trace_hash() is equal for
// equal runs.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <string>
#include <vector>

#include "engine/base/types.h"
#include "tests/sim/disk.h"
#include "tests/sim/fault.h"
#include "tests/sim/network.h"
#include "tests/sim/random.h"

namespace ringtail::sim {

class SimBackend;

struct SimOptions {
  uint64_t seed = 1;
  // Every look at the clock takes this long, and every turn up to turn_ns_most: loops that wait for
  // time to pass end, and work has a cost.
  base::Nanos now_tick_ns = 20;
  base::Nanos turn_ns_most = 2'000;
  int64_t start_wall_ms = 1'700'000'000'000;
  DiskOptions disk;
  NetworkOptions network;
};

// What a core is to the world.
class Actor {
 public:
  virtual ~Actor() = default;
  virtual int process() const = 0;
  // One turn; true: it did something (and its siblings may have got mail).
  virtual bool Turn() = 0;
  virtual bool Runnable() const = 0;
  virtual base::Nanos Deadline() const = 0;  // when to run it although nothing has happened

 private:
  friend class SimWorld;
  bool nudged_ = true;
  uint64_t number_ = 0;
};

// A program: what its cores share. Lives as long as the world; a restart is a new process.
class SimProcess {
 public:
  struct Fd {
    enum Kind : uint8_t { kNone, kFile, kListener, kStream, kPipe };
    Kind kind = kNone;
    int flags = 0;
    int in_flight = 0;
    InodeId inode = 0;
    Channel channel = 0;
    std::string path;
  };

  int id() const { return id_; }
  const std::string& name() const { return name_; }
  const std::string& host() const { return host_; }
  SimDisk& disk() { return *disk_; }
  bool alive() const { return alive_; }
  // nullptr where it is not open.
  Fd* Find(int fd);
  int Add(Fd entry);  // the lowest free number, as in POSIX
  void Remove(int fd);
  size_t open_count() const;
  // How many were open at the same time at most.
  size_t most_open() const { return fds_.size() - 3; }

 private:
  friend class SimWorld;
  friend class SimBackend;
  int id_ = 0;
  std::string name_;
  std::string host_;
  SimDisk* disk_ = nullptr;
  bool alive_ = true;
  std::vector<Fd> fds_ = std::vector<Fd>(3);
  std::vector<const uint8_t*> mappings_;
};

class SimWorld {
 public:
  explicit SimWorld(uint64_t seed);
  explicit SimWorld(const SimOptions& options);
  ~SimWorld();
  SimWorld(const SimWorld&) = delete;
  SimWorld& operator=(const SimWorld&) = delete;

  uint64_t seed() const { return options_.seed; }
  const SimOptions& options() const { return options_; }
  Rng& rng() { return rng_; }
  SimDisk& disk() { return *disks_[0]; }
  SimNetwork& network() { return network_; }
  Faults& faults() { return faults_; }
  SimDisk& AddDisk(const DiskOptions& options);
  // A disk that is as `other` is now; nothing is open on it.
  SimDisk& ForkDisk(const SimDisk& other);

  // --- Processes. `host` is the address of its machine.
  SimProcess& NewProcess(std::string name, SimDisk* disk = nullptr, std::string host = "127.0.0.1");
  // As kill -9: operations in flight are done fully, partly or not at all; its connections end; the
  // page cache stays. Destroy its cores afterwards (SimNode and SimBroker do both).
  void Kill(SimProcess& process);
  // All processes on the disk's machine end, and the disk keeps what the policy says.
  void PowerCut(const PowerCutPolicy& policy, SimDisk* disk = nullptr);

  // --- Time.
  base::Nanos now() const { return now_; }
  base::Nanos Tick() { return now_ += options_.now_tick_ns; }
  void Advance(base::Nanos duration) { now_ += duration; }
  int64_t wall_ms() const { return options_.start_wall_ms + now_ / base::kNanosPerMilli; }
  void StepWallClock(int64_t delta_ms) { options_.start_wall_ms += delta_ms; }
  void After(base::Nanos delay, const char* label, std::function<void()> run);

  // --- Running. A step limit always ends the run, so that no test hangs.
  static constexpr uint64_t kStepsDefault = 2'000'000;
  // False: nothing can happen any more.
  bool Step();
  // True: `done` holds. False: nothing can happen any more, kPause fired, or the limit was reached
  // (which is reported on stderr).
  bool RunUntil(const std::function<bool()>& done, uint64_t steps_max = kStepsDefault);
  // Runs until `duration` has passed.
  void RunFor(base::Nanos duration, uint64_t steps_max = kStepsDefault);
  // Kill and PowerCut resume, too.
  void Pause() { paused_ = true; }
  bool paused() const { return paused_; }
  void Resume() { paused_ = false; }

  uint64_t steps() const { return steps_; }
  uint64_t trace_hash() const { return trace_hash_; }
  // `label` is a literal; its text, not its address, goes into the hash.
  void Trace(const char* label, int64_t a, int64_t b);
  // The seed and the last things that happened.
  std::string Report() const;

  // --- For actors and backends.
  void AddActor(Actor* actor);
  void RemoveActor(Actor* actor);
  uint64_t AddBackend(SimBackend* backend);
  void RemoveBackend(uint64_t id);
  SimBackend* FindBackend(uint64_t id);
  void WaitOn(Channel channel, uint64_t backend, uint64_t flight);
  void StopWaitingOn(Channel channel, uint64_t backend, uint64_t flight);

 private:
  struct Event {
    base::Nanos when;
    uint64_t tie;  // seeded: events of the same time come in any order
    const char* label;
    std::shared_ptr<std::function<void()>> run;
    bool operator>(const Event& other) const {
      return when != other.when ? when > other.when : tie > other.tie;
    }
  };
  struct Line {
    base::Nanos when;
    const char* label;
    int64_t a, b;
  };

  void Changed(Channel channel);
  void HungReleased();
  void End(SimProcess& process, bool power_cut);
  bool RunEvent();
  void TakeTurn(Actor* actor);
  bool MoveClock();

  SimOptions options_;
  Rng rng_;
  base::Nanos now_ = base::kNanosPerSecond;
  uint64_t steps_ = 0;
  uint64_t trace_hash_ = 0;
  bool paused_ = false;
  std::deque<Line> lines_;
  std::priority_queue<Event, std::vector<Event>, std::greater<Event>> events_;
  std::vector<Actor*> actors_;
  uint64_t next_actor_ = 1;
  std::map<uint64_t, SimBackend*> backends_;
  uint64_t next_backend_ = 1;
  std::map<Channel, std::vector<std::pair<uint64_t, uint64_t>>> waiting_;  // {backend, flight}
  Faults faults_;
  SimNetwork network_;
  std::vector<std::unique_ptr<SimDisk>> disks_;
  std::vector<std::unique_ptr<SimProcess>> processes_;
};

}  // namespace ringtail::sim
