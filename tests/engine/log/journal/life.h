// What scripts do to a Stack, and what must be there when it starts again: shared by the tests that
// cut its power, break its disk, or run it for long.
#pragma once

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/engine/log/journal/stack.h"
#include "tests/sim/random.h"

namespace ringtail::log {

// 60 operations; ends early where the world pauses.
class Script {
 public:
  // `troubled`: operations may fail.
  Script(uint64_t seed, int operations, bool troubled = false)
      : rng_(seed), operations_(operations), troubled_(troubled) {}

  task::Task<absl::Status> Run(Stack* stack) {
    stack_ = stack;
    for (int i = 0; i < 4; ++i) {
      const std::string topic = absl::StrCat("topic", i);
      const bool there =
          std::any_of(stack->parts().begin(), stack->parts().end(), [&](const auto& part) {
            return !part.second->gone && part.second->facts().topic == topic;
          });
      if (there || operations_ == 0) continue;
      const absl::Status made = co_await stack->Create(
          topic,
          i == 3 && !stack->options().journal_only ? Durability::kPageCache : Durability::kJournal);
      if (!made.ok() && !troubled_) co_return made;
    }
    for (int i = 0; i < operations_; ++i) {
      const absl::Status done = co_await Step();
      if (!done.ok() && !troubled_) co_return done;
      if (!done.ok()) Tell(absl::StrCat("  ", done.ToString()));
    }
    co_return absl::OkStatus();
  }

 private:
  uint64_t Random(uint64_t below) { return rng_.Below(below); }
  base::Nanos Now() { return task::Scheduler::Current().now(); }

  void Tell(const std::string& what) {
    if (std::getenv("SIM_TRACE") != nullptr) {
      std::fprintf(stderr, "%ld us: %s\n", static_cast<long>(Now() / 1000), what.c_str());
    }
  }

  task::Task<absl::Status> Step() {
    std::vector<size_t> open;
    for (auto& [index, part] : stack_->parts()) {
      if (!part->gone) open.push_back(index);
    }
    if (open.empty()) co_return absl::OkStatus();
    const size_t index = open[Random(open.size())];
    Stack::Part& part = *stack_->parts()[index];
    const uint64_t what = Random(100);
    Tell(absl::StrCat(part.facts().topic, " ",
                      what < 55   ? "append"
                      : what < 63 ? "large append"
                      : what < 68 ? "roll"
                      : what < 76 ? "truncate"
                      : what < 83 ? "trim"
                      : what < 87 ? "drop"
                      : what < 91 ? "switch"
                      : what < 95 ? "sync"
                      : what < 97 ? "sleep"
                                  : "compact",
                      ": log ", part.log->log_start().value(), " ", part.log->durable_end().value(),
                      " ", part.log->written_end().value(), " ", part.log->log_end().value()));
    if (what < 55) {
      const int appends = 1 + static_cast<int>(Random(stack_->options().appends_most));
      for (int i = 0; i < appends; ++i)
        stack_->Append(index, 1, 50 + static_cast<int>(Random(6000)));
      if (Random(2) == 0)
        co_await task::Scheduler::Current().SleepUntil(Now() +
                                                       static_cast<int64_t>(Random(400'000)));
      co_return absl::OkStatus();
    }
    if (what < 63) {
      stack_->Append(index, 2, 8000 + static_cast<int>(Random(8000)));  // bypass
      co_return absl::OkStatus();
    }
    if (what < 68) co_return part.log->Roll();
    if (what < 76) co_return co_await Truncate(&part);
    if (what < 83) co_return co_await Trim(&part);
    if (what < 87) {
      const std::string topic = part.facts().topic;
      const Durability durability = part.facts().durability;
      const absl::Status dropped = co_await stack_->Drop(index);
      if (!dropped.ok()) co_return dropped;
      co_return co_await stack_->Create(topic, durability);
    }
    if (what < 91) co_return SwitchMode(&part);
    if (what < 95) co_return co_await Sync(&part);
    if (what < 97) {
      co_await task::Scheduler::Current().SleepUntil(Now() +
                                                     11 * base::kNanosPerSecond);  // reclaim by age
      co_return absl::OkStatus();
    }
    co_return co_await Compact(&part);
  }

  task::Task<absl::Status> Truncate(Stack::Part* part) {
    Known& facts = part->facts();
    if (facts.sent.empty()) co_return absl::OkStatus();
    const size_t keep = facts.sent.size() - Random(std::min<size_t>(facts.sent.size(), 4) + 1);
    const int64_t asked =
        std::max(keep == 0 ? facts.sent[0].base : facts.sent[keep - 1].next, facts.log_start_asked);
    if (asked >= facts.end()) co_return absl::OkStatus();
    // A batch goes as a whole, and with it the log's start where that is within it.
    int64_t end = asked;
    for (const Known::Batch& batch : facts.sent) {
      if (batch.base < asked && asked < batch.next) end = batch.base;
    }
    // From here on what is above may be there or not, until it has ended.
    const int64_t before = facts.cutting;  // of one that failed: it may have been made all the same
    facts.cutting = std::min(before, end);
    const absl::Status cut =
        co_await part->log->Truncate(base::Offset(asked), Now() + base::kNanosPerSecond);
    if (!cut.ok()) co_return cut;
    std::erase_if(facts.sent, [&](const Known::Batch& batch) { return batch.base >= end; });
    facts.acked = std::min(facts.acked, end);
    facts.visible = std::min(facts.visible, end);
    facts.synced = std::min(facts.synced, end);
    facts.log_start = std::min(facts.log_start, end);
    facts.log_start_asked = std::min(facts.log_start_asked, end);
    facts.branches.clear();
    facts.cutting = before;
    co_return absl::OkStatus();
  }

  task::Task<absl::Status> Trim(Stack::Part* part) {
    Known& facts = part->facts();
    const int64_t to =
        facts.log_start +
        static_cast<int64_t>(Random(static_cast<uint64_t>(facts.visible - facts.log_start) + 1));
    facts.log_start_asked = std::max(facts.log_start_asked, to);
    const absl::Status trimmed = co_await part->log->Trim(base::Offset(to));
    if (!trimmed.ok()) co_return trimmed;
    facts.log_start = std::max(facts.log_start, part->log->log_start().value());
    co_return (co_await part->log->RemoveSegmentsBelowStart()).status();
  }

  // Keeps every batch: segments become one, with the bytes that they had.
  task::Task<absl::Status> Compact(Stack::Part* part) {
    struct KeepAll : BatchFilter {
      bool Learn(const BatchView&) override { return true; }
      absl::StatusOr<Verdict> Filter(const BatchView&, std::vector<uint8_t>*) override {
        return Verdict::kKeep;
      }
    };
    struct NoPace : CompactionPace {
      task::Task<void> Spend(int64_t) override { co_return; }
    };
    const absl::Status rolled = part->log->Roll();
    if (!rolled.ok()) co_return rolled;
    const auto end = co_await part->log->CompactableEnd();
    if (!end.ok()) co_return end.status();
    KeepAll keep_all;
    NoPace no_pace;
    const LogConfig config = part->log->config();
    LogConfig large = config;
    large.segment_bytes_max = 1 << 20;
    part->log->SetConfig(large);
    const auto compacted =
        co_await part->log->Compact({.dirty_from = *end, .end = *end}, keep_all, no_pace);
    part->log->SetConfig(config);
    if (!compacted.ok()) co_return compacted.status();
    Tell(absl::StrCat("  ", compacted->segments_before, " segments are ",
                      compacted->segments_after));
    co_return absl::OkStatus();
  }

  absl::Status SwitchMode(Stack::Part* part) {
    if (stack_->options().journal_only) return absl::OkStatus();
    Known& facts = part->facts();
    facts.durability =
        facts.durability == Durability::kJournal ? Durability::kPageCache : Durability::kJournal;
    facts.switched = true;
    LogConfig config = part->log->config();
    config.durability = facts.durability;
    part->log->SetConfig(config);
    return absl::OkStatus();
  }

  task::Task<absl::Status> Sync(Stack::Part* part) {
    const int64_t end = part->log->written_end().value();
    const absl::Status synced = co_await part->log->Sync();
    if (synced.ok()) part->facts().synced = std::max(part->facts().synced, end);
    co_return synced;
  }

  sim::Rng rng_;
  int operations_;
  bool troubled_;
  Stack* stack_ = nullptr;
};

// All .log files, one behind the other.
inline std::string Segments(const sim::SimDisk& disk, const std::string& directory) {
  std::vector<io::DirectoryEntry> entries;
  disk.List(directory, &entries);
  std::vector<std::string> names;
  for (const io::DirectoryEntry& entry : entries) {
    if (absl::EndsWith(entry.name, ".log")) names.push_back(entry.name);
  }
  std::sort(names.begin(), names.end());
  std::string all;
  for (const std::string& name : names) all += *disk.Content(absl::StrCat(directory, "/", name));
  return all;
}

// Empty: `found`, of a log from `start` to `end`, is the tail of this history up to there.
inline std::string Differs(const std::vector<Known::Batch>& history, int64_t start, int64_t end,
                           absl::string_view found) {
  std::string expected;
  size_t kept = 0;
  bool on_boundary = end == 0 || history.empty() || end == history.front().base || end == start;
  for (const Known::Batch& batch : history) {
    if (batch.next > end) break;
    expected += batch.bytes;
    on_boundary = on_boundary || batch.next == end;
    if (batch.next > start) kept += batch.bytes.size();
  }
  if (!on_boundary) return absl::StrCat("ends at ", end, " within a batch");
  if (!absl::EndsWith(expected, found)) {
    return absl::StrCat("its ", found.size(), " bytes are not the end of the ", expected.size(),
                        " of its history");
  }
  if (found.size() < kept) {
    return absl::StrCat("has ", found.size(), " bytes, and ", kept, " were appended from ", start);
  }
  return "";
}

// What is there is a run of whole batches of one history, with all that was promised.
// After a power cut page_cache logs may have lost what was not synced.
inline void CheckLog(SimMachine& machine, const std::string& directory, const Log& log,
                     Known& facts) {
  const int64_t end = log.written_end().value();
  const int64_t start = log.log_start().value();
  const bool journal_always = facts.durability == Durability::kJournal && !facts.switched;
  int64_t promised = std::max(facts.acked, facts.visible);
  if (facts.power && !journal_always) promised = std::min(promised, facts.synced);
  promised = std::min(promised, facts.cutting);
  const int64_t least_start = std::min(facts.log_start, facts.cutting);
  facts.cutting = INT64_MAX;
  ASSERT_GE(end, promised) << "acked " << facts.acked << ", visible " << facts.visible << ", sent "
                           << facts.end();
  ASSERT_GE(start, least_start);
  ASSERT_LE(start, std::max(facts.log_start, facts.log_start_asked));
  const std::string found = Segments(machine.world().disk(), directory);
  const std::string difference = Differs(facts.sent, start, end, found);
  bool as_sent = difference.empty();
  for (const Known::Branch& branch : facts.branches) {
    if (as_sent || promised > branch.fork) continue;
    as_sent = Differs(branch.sent, start, end, found).empty();
    if (as_sent) facts.sent = branch.sent;
  }
  ASSERT_TRUE(as_sent) << difference;
  // What was not kept never was.
  std::erase_if(facts.sent, [&](const Known::Batch& batch) { return batch.next > end; });
  facts.branches.clear();
  facts.power = false;
  facts.visible = facts.acked = end;  // readers see it now
  facts.synced = end;
  facts.log_start = facts.log_start_asked = start;
  facts.switched = log.config().durability != facts.durability;
}

// One life: starts, runs the script until the operation `cut` (or to its end), then cuts. Returns
// how many operations there were.
class Life {
 public:
  explicit Life(uint64_t seed) : machine_(seed) {}
  ~Life() {
    if (stack_ != nullptr) Kill();  // a test that failed
  }

  // nullopt: it ran to its end.
  uint64_t RunUntil(std::optional<uint64_t> cut, const StackOptions& options, uint64_t script_seed,
                    int operations, bool* paused) {
    stack_ = std::make_unique<Stack>(machine_, known_, options);
    sim::FaultRule rule;
    rule.kind = sim::FaultKind::kPause;
    rule.codes = {io::OpCode::kWrite, io::OpCode::kSync, io::OpCode::kRename, io::OpCode::kUnlink,
                  sim::kTruncate};
    rule.path = "/data";
    rule.skip = cut.value_or(UINT64_MAX);
    const int id = machine_.world().faults().Add(rule);
    Script script(script_seed, operations);
    const auto started = machine_.TryRun(stack_->Start());
    *paused = !started.has_value();
    if (started.has_value()) {
      EXPECT_TRUE(started->ok()) << started->ToString();
      if (!started->ok()) return 0;
      CheckAll();
      if (stopped_clean_) CheckAsLeft();
      stopped_clean_ = false;
      if (testing::Test::HasFatalFailure()) return 0;
      const auto ran = machine_.TryRun(script.Run(stack_.get()));
      *paused = !ran.has_value();
      if (ran.has_value()) EXPECT_TRUE(ran->ok()) << ran->ToString();
    }
    const uint64_t matched = machine_.world().faults().matched(id);
    machine_.world().faults().Remove(id);
    return matched;
  }
  // Starts, then runs the script with the disk in trouble; false: it did not start. `from_start`:
  // recovery has the trouble, too. Ends when the script has, or hangs.
  bool RunTroubled(const sim::FaultRule& rule, bool from_start, const StackOptions& options,
                   uint64_t script_seed, int operations) {
    stack_ = std::make_unique<Stack>(machine_, known_, options);
    sim::Faults& faults = machine_.world().faults();
    int id = -1;
    if (from_start) id = faults.Add(rule);
    const auto started = machine_.TryRun(stack_->Start());
    const bool ok = started.has_value() && started->ok();
    if (!from_start) EXPECT_TRUE(ok) << (started.has_value() ? started->ToString() : "hangs");
    if (ok) {
      CheckAll();
      if (testing::Test::HasFatalFailure()) return false;
      if (!from_start) id = faults.Add(rule);
      Script script(script_seed, operations, /*troubled=*/true);
      machine_.TryRun(script.Run(stack_.get()));
    }
    fired_ = faults.fired(id);
    faults.Remove(id);
    return ok;
  }
  std::optional<absl::Status> TryStart(const StackOptions& options) {
    stack_ = std::make_unique<Stack>(machine_, known_, options);
    return machine_.TryRun(stack_->Start());
  }
  // All logs that are open and for which `wanted` says so.
  void CheckAll(const std::function<bool(size_t, const Log&, const Known&)>& wanted = nullptr) {
    for (auto& [index, part] : stack_->parts()) {
      if (part->gone || (wanted && !wanted(index, *part->log, known_[index]))) continue;
      SCOPED_TRACE(absl::StrCat(known_[index].topic, " id ", index));
      CheckLog(machine_, stack_->Directory(index), *part->log, known_[index]);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
  // After a clean stop every log ends where the broker left it.
  void CheckAsLeft() {
    EXPECT_EQ(stack_->recovered().origin, RecoveryResult::Origin::kClean);
    for (const auto& [key, partition] : stack_->recovered().partitions) {
      // Else it is scanned: nothing is on record, or its last segment got nothing.
      EXPECT_TRUE(partition.proven || partition.end.position == 0) << partition.directory;
    }
  }
  // Journal frames that nothing speaks of are gone: logs may be shorter, but not different.
  void ForgiveShorter() {
    for (Known& each : known_) each.acked = each.visible = each.synced = each.log_start = 0;
  }
  // Whether the last trouble came at all.
  bool fired() const { return fired_ > 0; }
  const Stack& stack() const { return *stack_; }
  const std::map<size_t, std::unique_ptr<Stack::Part>>& parts() { return stack_->parts(); }
  void PowerCut(const sim::PowerCutPolicy& policy) {
    machine_.PowerCut(policy);
    End(true);
  }
  void Kill() {
    machine_.Kill();
    End(false);
  }
  void StopClean() {
    machine_.world().Resume();  // a pause may have come with the script's last turn
    const auto stopped = machine_.TryRun(stack_->Stop());
    ASSERT_TRUE(stopped.has_value()) << "the stop does not end:\n"
                                     << machine_.scheduler().DumpTasks();
    ASSERT_TRUE(stopped->ok()) << stopped->ToString();
    machine_.Kill();
    End(false);
    stopped_clean_ = true;
  }
  SimMachine& machine() { return machine_; }
  std::vector<Known>& known() { return known_; }

 private:
  void End(bool power) {
    stopped_clean_ = false;
    stack_.reset();
    machine_.Start();
    for (Known& each : known_) each.power = each.power || power;
  }
  SimMachine machine_;
  std::vector<Known> known_;
  std::unique_ptr<Stack> stack_;
  uint64_t fired_ = 0;
  bool stopped_clean_ = false;
};

inline sim::PowerCutPolicy PolicyOf(uint64_t n) {
  return {static_cast<sim::PowerCutPolicy::Kept>(n % 5),
          n / 5 % 2 == 0 ? sim::kSectorBytes : sim::kPageBytes};
}

constexpr int kOperations = 60;

inline uint64_t CountOperations(uint64_t seed, const StackOptions& options) {
  Life life(seed);
  bool paused = false;
  const uint64_t operations = life.RunUntil(std::nullopt, options, seed, kOperations, &paused);
  life.Kill();
  return operations;
}

// A run that ended without a stop, all of it on the medium: the last frame's seal, too.
inline void RunAndCrash(Life& life, uint64_t seed, const StackOptions& options) {
  bool paused = false;
  life.RunUntil(std::nullopt, options, seed, kOperations, &paused);
  if (testing::Test::HasFailure()) return;
  life.machine().world().RunFor(base::kNanosPerSecond / 5);
  life.machine().world().disk().SyncEverything();
  life.Kill();
  life.machine().world().disk().SyncEverything();
}

inline std::vector<std::string> FilesBelow(const sim::SimDisk& disk, const std::string& directory) {
  std::vector<std::string> files;
  std::vector<io::DirectoryEntry> entries;
  disk.List(directory, &entries);
  for (const io::DirectoryEntry& entry : entries) {
    const std::string path = absl::StrCat(directory, "/", entry.name);
    if (!entry.is_directory) {
      files.push_back(path);
      continue;
    }
    for (std::string& each : FilesBelow(disk, path)) files.push_back(std::move(each));
  }
  return files;
}

// Ok, or why the start was refused.
inline absl::Status StartDamaged(Life& life, StackOptions options) {
  options.damaged = true;
  const auto started = life.TryStart(options);
  EXPECT_TRUE(started.has_value()) << "the start does not end";
  return started.value_or(absl::InternalError("hangs"));
}

}  // namespace ringtail::log
