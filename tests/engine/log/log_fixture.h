// A log on a machine, with what it tells its observer.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/log/log.h"
#include "engine/log/log_environment.h"
#include "engine/log/log_observer.h"
#include "tests/engine/log/batch_maker.h"
#include "tests/engine/log/machine.h"

namespace ringtail::log {

class RecordingObserver : public LogObserver {
 public:
  void OnWritten(base::Offset end) override { written.push_back(end.value()); }
  void OnRolledBack(base::Offset end, const absl::Status& why) override {
    rolled_back.push_back(end.value());
  }
  void OnRevoke(base::Offset end) override {
    ++revoked;
    if (on_revoke) on_revoke();
  }
  std::string ProducerSnapshot(base::Offset end) override {
    return "snapshot " + std::to_string(end.value());
  }
  std::optional<base::Offset> ProducerHistoryStart(base::Offset from) override {
    if (!history_start.has_value()) return std::nullopt;
    return std::max(*history_start, from);
  }
  void ResetProducers() override {
    recalled.clear();
    replayed.clear();
    snapshot = -1;
  }
  absl::Status LoadProducerSnapshot(base::Offset end, base::ByteView bytes) override {
    if (base::AsText(bytes) != "snapshot " + std::to_string(end.value())) {
      return absl::DataLossError("damaged snapshot");
    }
    snapshot = end.value();
    return absl::OkStatus();
  }
  void RecallBatch(const BatchHeader& batch) override {
    recalled.push_back(batch.base_offset().value());
  }
  void ReplayBatch(const BatchHeader& batch) override {
    replayed.push_back(batch.base_offset().value());
  }

  std::vector<int64_t> written;
  std::vector<int64_t> rolled_back;
  int revoked = 0;
  std::function<void()> on_revoke;
  int64_t snapshot = -1;
  std::vector<int64_t> recalled;
  std::vector<int64_t> replayed;
  std::optional<base::Offset> history_start;
};

inline base::Offset At(int64_t offset) { return base::Offset(offset); }

class LogUnderTest {
 public:
  explicit LogUnderTest(Machine& machine, const LogOptions& options = {})
      : machine_(machine), options_(options) {}
  ~LogUnderTest() {
    if (log_ != nullptr) Kill();
  }

  Log& operator*() { return *log_; }
  Log* operator->() { return log_.get(); }
  Machine& machine() { return machine_; }
  LogEnvironment& env() { return *env_; }
  RecordingObserver& observer() { return observer_; }
  LogConfig config;
  OpenOptions open;
  RecoveryInfo info;

  std::string directory() const { return machine_.data_dir() + "/topic-0"; }

  void Create() {
    NewEnvironment();
    auto made = machine_.Run(
        Log::Create(*env_, observer_, directory(), config, {"topic", 0}, base::Uuid::Random()));
    RT_CHECK(made.ok());
    log_ = *std::move(made);
  }
  absl::Status Open() {
    NewEnvironment();
    info = RecoveryInfo();
    auto opened = machine_.TryRun(
        Log::Open(*env_, observer_, directory(), config, {"topic", 0}, open, &info));
    if (!opened.has_value()) return absl::AbortedError("paused");
    if (opened->ok()) log_ = *std::move(*opened);
    return opened->status();
  }
  // Closes and opens again, trusting what was closed.
  absl::Status Reopen() {
    const absl::Status closed = machine_.Run(log_->Close());
    if (!closed.ok()) return closed;
    open.clean = true;
    open.recovery_point = log_->recovery_point();
    open.log_start = log_->log_start();
    log_.reset();
    return Open();
  }
  // Ends the process; Start() and Open() come next.
  void Kill() {
    if (log_ != nullptr) {
      open.clean = false;
      open.log_start = log_->log_start();
    }
    machine_.Kill();
    log_.reset();
    env_.reset();
  }
  void Forget() {  // the process has ended already
    log_.reset();
    env_.reset();
  }
  absl::Status KillAndOpen() {
    Kill();
    machine_.Start();
    return Open();
  }

  // Keeps the bytes alive, as a caller must. kClosed where the world was paused.
  AppendResult Append(std::string batches, int32_t epoch = 0) {
    kept_.push_back(std::make_unique<std::string>(std::move(batches)));
    AppendResult paused;
    paused.error = AppendError::kClosed;
    const auto append = [&] { return log_->AppendAsLeader(Bytes(*kept_.back()), epoch); };
    return machine_.TryRun(Call(append)).value_or(paused);
  }
  AppendResult AppendVerbatim(std::string batches) {
    kept_.push_back(std::make_unique<std::string>(std::move(batches)));
    AppendResult paused;
    paused.error = AppendError::kClosed;
    const auto append = [&] { return log_->AppendVerbatim(Bytes(*kept_.back())); };
    return machine_.TryRun(Call(append)).value_or(paused);
  }
  // Appends and waits.
  absl::Status Write(const std::string& batches, int32_t epoch = 0) {
    return Wait(Append(batches, epoch));
  }
  absl::Status Wait(const AppendResult& append) {
    if (!append.ok()) return absl::InternalError("refused");
    return machine_.Run(log_->WaitWritten(append, base::kNever));
  }
  // Runs `what` on the core.
  template <class F>
  auto Do(F what) -> decltype(what()) {
    return machine_.Run(Call(std::move(what)));
  }
  absl::StatusOr<ReadPlan> Plan(int64_t from, int64_t upper = INT64_MAX, int64_t bytes = INT32_MAX,
                                bool at_least_one = true) {
    return machine_.Run(log_->PlanRead(At(from), At(upper), bytes, at_least_one));
  }
  std::string ReadPlanned(const ReadPlan& plan) {
    std::string bytes(static_cast<size_t>(plan.bytes), '\0');
    if (plan.bytes == 0) return bytes;
    RT_CHECK(machine_.io().ReadBlocking(plan.fd, bytes.data(), bytes.size(),
                                        plan.position.value()) == plan.bytes);
    return bytes;
  }
  // All batches from log_start on, in pieces of at most `bytes_max`.
  std::string ReadAll(int64_t bytes_max = INT32_MAX) {
    std::string all;
    base::Offset from = log_->log_start();
    while (true) {
      auto plan = Plan(from.value(), INT64_MAX, bytes_max);
      RT_CHECK(plan.ok());
      if (plan->bytes == 0) return all;
      all += ReadPlanned(*plan);
      RT_CHECK(plan->next_offset > from);
      from = plan->next_offset;
      machine_.Run(Release(std::move(*plan)));
    }
  }
  // Releases a plan on the core, as its reader would.
  static task::Task<bool> Release(ReadPlan plan) {
    plan.pin.Release();
    co_return true;
  }

 private:
  template <class F>
  static task::Task<std::invoke_result_t<F>> Call(F what) {
    co_return what();
  }
  void NewEnvironment() {
    log_.reset();
    env_ = std::make_unique<LogEnvironment>(machine_.io(), options_, nullptr);
  }

  Machine& machine_;
  LogOptions options_;
  RecordingObserver observer_;
  std::vector<std::unique_ptr<std::string>> kept_;
  std::unique_ptr<LogEnvironment> env_;
  std::unique_ptr<Log> log_;
};

}  // namespace ringtail::log
