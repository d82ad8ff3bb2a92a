// All of durability on a simulated machine: several cores' journals, logs of both modes over them,
// recovery; and an oracle that knows what was sent, acknowledged and visible. A cut of the process
// or of the power at any operation, then Start() again, must keep what was promised.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/io/file.h"
#include "engine/log/after_recovery.h"
#include "engine/log/data_directory.h"
#include "engine/log/journal/core_journal.h"
#include "engine/log/journal/journal_manifest.h"
#include "engine/log/journal/mutants.h"
#include "engine/log/journal/recovery.h"
#include "engine/log/log.h"
#include "engine/log/log_environment.h"
#include "tests/engine/log/batch_maker.h"
#include "tests/engine/log/machine.h"

namespace ringtail::log {

struct StackOptions {
  uint32_t cores = 2;
  size_t depth = 2;
  size_t bypass_bytes = 12 << 10;
  int appends_most = 3;  // per operation of the script; many: the journal laps
  bool journal_only = false;
  bool damaged = false;  // a partition that cannot be opened does not end the start
  bool accept_journal_loss = false;
  // Recovery may sync all at once: what syncfs does, in no time, or its failure.
  bool syncs_at_once = false;
  bool sync_at_once_fails = false;
};

struct SyncOfAll : FileSystemSync {
  explicit SyncOfAll(SimMachine& syncs) : machine(syncs) {}
  bool available(int64_t) const override { return true; }
  task::Task<absl::Status> Sync() override {
    ++calls;
    if (fails) co_return absl::DataLossError("injected");
    machine.world().disk().SyncEverything();
    co_return absl::OkStatus();
  }
  SimMachine& machine;
  bool fails = false;
  int calls = 0;
};

// What is known of one partition, over all runs.
struct Known {
  struct Batch {
    int64_t base = 0;
    int64_t next = 0;
    std::string bytes;
  };
  base::Uuid id;
  std::string topic;
  Durability durability = Durability::kJournal;
  // A history that a failed write ended at `fork`: nothing past it was acknowledged, and it may be
  // there after a restart, until something else is acknowledged in its place.
  struct Branch {
    std::vector<Batch> sent;
    int64_t fork = 0;
  };
  std::vector<Batch> sent;  // one history, in order
  std::vector<Branch> branches;
  uint64_t sent_count = 0;
  int64_t acked = 0;            // all below was acknowledged
  int64_t visible = 0;          // all below was below durable_end
  int64_t synced = 0;           // page_cache: all below was synced
  int64_t cutting = INT64_MAX;  // a truncation to here may have happened
  int64_t log_start = 0;        // acknowledged
  int64_t log_start_asked = 0;
  bool power = false;     // was cut since it was last seen
  bool switched = false;  // was journaled or not from time to time
  bool created = false;   // Create() has ended well
  bool deleted = false;   // the catalog knows that it is gone

  int64_t end() const { return sent.empty() ? 0 : sent.back().next; }
};

class Stack {
 public:
  Stack(SimMachine& machine, std::vector<Known>& known, const StackOptions& options)
      : machine_(machine), known_(known), options_(options) {}
  // After the process has ended, or Stop().
  ~Stack() {
    parts_.clear();
    cores_.clear();
  }

  struct Part : LogObserver {
    Stack* stack = nullptr;
    size_t known = 0;
    std::unique_ptr<Log> log;
    bool gone = false;
    Known& facts() { return stack->known_[known]; }
    void OnDurable(base::Offset end) override {
      facts().visible = std::max(facts().visible, end.value());
    }
    void OnRolledBack(base::Offset end, const absl::Status&) override {
      Known& known = facts();
      if (known.end() <= end.value()) return;
      known.branches.push_back({known.sent, end.value()});
      std::erase_if(known.sent,
                    [&](const Known::Batch& batch) { return batch.next > end.value(); });
    }
  };

  std::map<size_t, std::unique_ptr<Part>>& parts() { return parts_; }
  const CoreJournal& journal(uint32_t core) const { return *cores_[core]->journal; }
  const RecoveryResult& recovered() const { return recovered_; }
  const std::map<size_t, absl::Status>& refused() const { return refused_; }
  size_t cores() const { return cores_.size(); }
  int syncs_of_all() const { return sync_of_all_.calls; }
  const StackOptions& options() const { return options_; }

  // Recovery, journals, logs. Ok: all that the catalog has is open.
  task::Task<absl::Status> Start() {
    RecoveryOptions options;
    options.data_dir = "/data";
    options.cores = options_.cores;
    options.accept_journal_loss = options_.accept_journal_loss;
    options.core_of = [this](const JournalKey& key) { return CoreOf(key); };
    sync_of_all_.fails = options_.sync_at_once_fails;
    if (options_.syncs_at_once) options.file_system = &sync_of_all_;
    options.sync.group_partitions_min = 2;
    auto recovered = co_await RecoverJournals(machine_.io(), options);
    if (!recovered.ok()) co_return recovered.status();
    recovered_ = *std::move(recovered);
    TellRecovered();
    for (uint32_t core = 0; core < options_.cores; ++core) {
      cores_.push_back(std::make_unique<Core>());
      Core& each = *cores_.back();
      LogOptions logs;
      logs.allocate_bytes_min = 0;
      logs.write_path = WritePath::kRing;
      each.env = std::make_unique<LogEnvironment>(machine_.io(), logs, nullptr);
      auto opened = co_await CoreJournal::Open(machine_.io(), nullptr, JournalOf(core));
      if (!opened.ok()) co_return opened.status();
      each.journal = *std::move(opened);
      each.env->set_journal(each.journal.get());
    }
    for (size_t i = 0; i < known_.size(); ++i) {
      if (!known_[i].created || known_[i].deleted) continue;
      const absl::Status opened = co_await OpenPart(i);
      if (!opened.ok() && !options_.damaged) co_return opened;
      if (!opened.ok()) refused_[i] = opened;
    }
    for (const auto& core : cores_) {
      const absl::Status written = co_await core->journal->sync().WriteCheckpoint();
      if (!written.ok()) co_return written;
    }
    co_return co_await FinishDeletions();
  }

  task::Task<absl::Status> Stop() {
    absl::Status status;
    for (auto& [index, part] : parts_) {
      if (!part->gone) status.Update(co_await part->log->Close());
    }
    for (const auto& core : cores_) status.Update(co_await core->journal->Close());
    if (!status.ok()) co_return status;
    co_return co_await MarkManifestClean(machine_.io(), "/data");
  }

  task::Task<absl::Status> Create(std::string topic, Durability durability) {
    known_.push_back({});
    const size_t index = known_.size() - 1;
    known_[index].id = Id(next_id_ + known_.size());
    // What a journal would take for the same partition if it knew it by its name.
    if (kMutantKeyByName) known_[index].id = Id(static_cast<size_t>(topic.back()));
    known_[index].topic = topic;
    known_[index].durability = durability;
    auto part = NewPart(index);
    auto made = co_await Log::Create(EnvOf(index), *part, Directory(index), ConfigOf(index),
                                     {topic, 0}, known_[index].id);
    if (!made.ok()) co_return made.status();
    part->log = *std::move(made);
    parts_[index] = std::move(part);
    known_[index].created = true;
    co_return absl::OkStatus();
  }

  // The catalog first, then the files.
  task::Task<absl::Status> Drop(size_t index) {
    known_[index].deleted = true;
    parts_[index]->gone = true;
    co_return co_await parts_[index]->log->CloseAndRemove();
  }

  // Queues; the ack is noted when it comes.
  void Append(size_t index, int records, int value_bytes) {
    Part& part = *parts_[index];
    // No two batches are equal.
    kept_.push_back(std::make_unique<std::string>(
        MakeBatch({.records = records,
                   .value_bytes = static_cast<size_t>(value_bytes),
                   .timestamp_ms = 1000 + static_cast<int64_t>(known_[index].sent_count++)})));
    std::string& bytes = *kept_.back();
    const AppendResult append = part.log->AppendAsLeader(
        base::MutableByteView(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()), 1);
    if (!append.ok()) return;
    part.facts().sent.push_back({append.base_offset.value(), append.end_offset.value(), bytes});
    task::Spawn("ack", NoteAck(this, &part, append));
  }

  std::string Directory(size_t index) const {
    return absl::StrCat("/data/", known_[index].topic, "-0");
  }

 private:
  struct Core {
    std::unique_ptr<CoreJournal> journal;
    std::unique_ptr<LogEnvironment> env;
  };

  // SIM_TRACE=1 in the environment: to see what led to a failure.
  void TellRecovered() const {
    if (std::getenv("SIM_TRACE") == nullptr) return;
    for (const auto& [key, each] : recovered_.partitions) {
      std::fprintf(
          stderr,
          "recovered %s: proven %d page_cache %d end %lu segment %lu byte %u log_start %lu "
          "rebuild %lu cut %ld applied %ld\n",
          each.directory.c_str(), each.proven, each.page_cache, each.end.offset,
          each.end.segment_base, each.end.position, each.log_start, each.rebuild_from,
          static_cast<long>(each.bytes_cut), static_cast<long>(each.bytes_applied));
      std::vector<io::DirectoryEntry> files;
      machine_.world().disk().List(each.directory, &files);
      for (const io::DirectoryEntry& file : files) {
        const auto content =
            machine_.world().disk().Content(absl::StrCat(each.directory, "/", file.name));
        std::fprintf(stderr, "  %s: %zu bytes\n", file.name.c_str(),
                     content.has_value() ? content->size() : 0);
      }
    }
  }

  static base::Uuid Id(size_t n) {
    base::Uuid id;
    for (size_t i = 0; i < 16; ++i) id.bytes[i] = static_cast<uint8_t>(n * 31 + i);
    return id;
  }
  static task::Task<void> NoteAck(Stack* stack, Part* part, AppendResult append) {
    const absl::Status status = co_await part->log->WaitDurable(append, base::kNever);
    if (status.ok()) {
      part->facts().acked = std::max(part->facts().acked, append.end_offset.value());
    }
  }

  uint32_t CoreOfIndex(size_t index) const { return static_cast<uint32_t>(index % options_.cores); }
  std::optional<uint32_t> CoreOf(const JournalKey& key) const {
    for (size_t i = 0; i < known_.size(); ++i) {
      if (known_[i].id == key.first && known_[i].created && !known_[i].deleted) {
        return CoreOfIndex(i);
      }
    }
    return std::nullopt;
  }
  LogEnvironment& EnvOf(size_t index) { return *cores_[CoreOfIndex(index)]->env; }
  LogConfig ConfigOf(size_t index) const {
    LogConfig config;
    config.segment_bytes_max = 40 << 10;
    config.index_interval_bytes = 512;
    config.durability = known_[index].durability;
    return config;
  }
  CoreJournalOptions JournalOf(uint32_t core) const {
    CoreJournalOptions options;
    options.journal.file_bytes = 128 << 10;
    options.journal.bytes_max = 4 * (128 << 10);
    options.journal.reserve_bytes = 16 << 10;
    options.journal.zero_chunk_bytes = 32 << 10;
    options.journal.depth = options_.depth;
    options.bypass_bytes = options_.bypass_bytes;
    return ContinueJournal(recovered_, core, "/data", options);
  }
  std::unique_ptr<Part> NewPart(size_t index) {
    auto part = std::make_unique<Part>();
    part->stack = this;
    part->known = index;
    return part;
  }
  task::Task<absl::Status> OpenPart(size_t index) {
    const JournalKey key(known_[index].id, 0);
    const auto found = recovered_.partitions.find(key);
    if (found != recovered_.partitions.end() && found->second.verdict != PartitionVerdict::kWhole) {
      co_return absl::DataLossError(absl::StrCat(Directory(index), ": ", found->second.reason));
    }
    OpenOptions options = OpenRecovered(recovered_, key);
    options.topic_id = known_[index].id;
    auto part = NewPart(index);
    RecoveryInfo info;
    auto opened = co_await Log::Open(EnvOf(index), *part, Directory(index), ConfigOf(index),
                                     {known_[index].topic, 0}, options, &info);
    if (!opened.ok()) {
      co_return absl::DataLossError(
          absl::StrCat(Directory(index), ": ", opened.status().message()));
    }
    part->log = *std::move(opened);
    parts_[index] = std::move(part);
    co_return absl::OkStatus();
  }
  // As the server does with its tombstones, and with what a creation left that a crash cut short.
  task::Task<absl::Status> FinishDeletions() {
    for (size_t i = 0; i < known_.size(); ++i) {
      if (known_[i].created && !known_[i].deleted) continue;
      const auto owner = co_await ReadPartitionMetadata(machine_.io(), Directory(i));
      const bool taken = !owner.ok() || *owner != known_[i].id;
      if (owner.ok() && taken) continue;
      bool other = false;
      for (const Known& each : known_) {
        other = other || (each.topic == known_[i].topic && each.created && !each.deleted);
      }
      if (!owner.ok() && other) continue;
      if (!machine_.io().StatPath(Directory(i)).ok()) continue;
      const absl::Status removed = co_await io::RemoveDirectoryWithFiles(
          machine_.io(), Directory(i), kPartitionMetadataFile);
      if (!removed.ok() && !absl::IsNotFound(removed)) co_return removed;
    }
    co_return absl::OkStatus();
  }

  SimMachine& machine_;
  std::vector<Known>& known_;
  StackOptions options_;
  SyncOfAll sync_of_all_{machine_};
  RecoveryResult recovered_;
  std::map<size_t, absl::Status> refused_;
  std::vector<std::unique_ptr<Core>> cores_;
  std::map<size_t, std::unique_ptr<Part>> parts_;
  std::vector<std::unique_ptr<std::string>> kept_;
  size_t next_id_ = 0;
};

}  // namespace ringtail::log
