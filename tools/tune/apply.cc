#include "tools/tune/apply.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/result.h"
#include "tools/tune/parse.h"
#include "tools/tune/rules.h"
#include "tools/tune/state_file.h"

namespace ringtail::tune {
namespace {

// What a file holds, in the form in which it is written.
absl::StatusOr<std::string> ValueOf(const Tree& tree, const std::string& path) {
  RT_ASSIGN_OR_RETURN(const std::string text, tree.ReadValue(path));
  return Chosen(text);
}

std::string BootOf(const Tree& tree) {
  return tree.ReadValue("/proc/sys/kernel/random/boot_id").value_or("");
}

bool IsOurs(const Record& record, const std::string& value) {
  return std::find(record.applied.begin(), record.applied.end(), value) != record.applied.end();
}

Record* FindRecord(RevertState* state, const std::string& path) {
  for (Record& record : state->records) {
    if (record.former.path == path) return &record;
  }
  return nullptr;
}

// Files that are not there (the settings of a scheduler that is not in use) need no putting back.
std::vector<Former> FormersOf(const Tree& tree, const std::vector<std::string>& paths) {
  std::vector<Former> formers;
  for (const std::string& path : paths) {
    const absl::StatusOr<std::string> value = ValueOf(tree, path);
    if (value.ok()) formers.push_back({path, *value});
  }
  return formers;
}

void AddRecord(const Tree& tree, const Change& change, const std::string& current,
               RevertState* state) {
  Record* record = FindRecord(state, change.path);
  if (record != nullptr) {
    if (!IsOurs(*record, change.value)) record->applied.push_back(change.value);
    return;
  }
  state->records.push_back({.former = {change.path, current},
                            .applied = {change.value},
                            .also = FormersOf(tree, change.also)});
}

// A start of the machine sets everything anew: of an earlier run, a record of a value that is no
// longer there says nothing.
void DropEarlierRun(const Tree& tree, RevertState* state) {
  std::erase_if(state->records, [&tree](const Record& record) {
    const absl::StatusOr<std::string> value = ValueOf(tree, record.former.path);
    return !value.ok() || !IsOurs(record, *value);
  });
}

bool IsBack(const Tree& tree, const Former& former) {
  const absl::StatusOr<std::string> value = ValueOf(tree, former.path);
  return value.ok() && *value == former.value;
}

bool IsBack(const Tree& tree, const Record& record) {
  return IsBack(tree, record.former) &&
         std::all_of(record.also.begin(), record.also.end(),
                     [&tree](const Former& former) { return IsBack(tree, former); });
}

// What was not changed after all need not be put back.
absl::Status KeepChanged(const Tree& tree, RevertState state, const std::string& file) {
  std::erase_if(state.records, [&tree](const Record& record) { return IsBack(tree, record); });
  return state.records.empty() ? RemoveState(file) : WriteState(file, state);
}

Outcome MakeChange(const Tree& tree, const ApplyOptions& options, const Change& change,
                   const std::string& current) {
  Outcome outcome{.path = change.path, .before = current};
  outcome.status = options.write(change.path, change.value);
  const absl::StatusOr<std::string> after = ValueOf(tree, change.path);
  outcome.after = after.value_or("");
  if (outcome.status.ok() && !after.ok()) outcome.status = after.status();
  if (outcome.status.ok() && outcome.after != change.value) {
    outcome.status = absl::FailedPreconditionError(
        absl::StrCat("written ", change.value, ", but it reads ", outcome.after));
  }
  return outcome;
}

// Which of the files follow which is the kernel's affair: vm.dirty_bytes=0 cannot be written, but
// comes with vm.dirty_ratio; a scheduler's settings exist once it is in use again, and the switch
// resets them. So those that came along go first, then the file itself, and once more.
absl::Status PutBack(const Tree& tree, const ApplyOptions& options, const Record& record) {
  std::vector<Former> all = record.also;
  all.push_back(record.former);
  absl::Status last;
  constexpr int kRounds = 2;
  for (int round = 0; round < kRounds && !IsBack(tree, record); ++round) {
    for (const Former& former : all) {
      if (IsBack(tree, former)) continue;
      const absl::Status status = options.write(former.path, former.value);
      if (status.ok()) continue;
      last = absl::Status(status.code(), absl::StrCat(former.path, ": ", status.message()));
    }
  }
  if (IsBack(tree, record)) return absl::OkStatus();
  if (!last.ok()) return last;
  return absl::FailedPreconditionError(
      absl::StrCat("written ", record.former.value, ", but it does not read so"));
}

Outcome RevertOne(const Tree& tree, const ApplyOptions& options, const Record& record) {
  Outcome outcome{.path = record.former.path};
  const absl::StatusOr<std::string> current = ValueOf(tree, record.former.path);
  if (!current.ok()) {
    outcome.status = current.status();
    return outcome;
  }
  outcome.before = *current;
  if (!IsOurs(record, *current) && *current != record.former.value) {
    outcome.left = true;
    outcome.after = *current;
    return outcome;
  }
  outcome.status = PutBack(tree, options, record);
  outcome.after = ValueOf(tree, record.former.path).value_or("");
  return outcome;
}

}  // namespace

absl::StatusOr<std::vector<Outcome>> Apply(const Tree& tree, const std::vector<Change>& changes,
                                           const ApplyOptions& options) {
  std::vector<Outcome> outcomes;
  RT_ASSIGN_OR_RETURN(const StateLock lock, StateLock::Take(options.state_file));
  RT_ASSIGN_OR_RETURN(std::optional<RevertState> recorded, ReadState(options.state_file));
  RevertState state = recorded.value_or(RevertState());
  const std::string boot = BootOf(tree);
  if (state.boot != boot) DropEarlierRun(tree, &state);
  state.boot = boot;
  std::vector<std::pair<const Change*, std::string>> wanted;  // with what is there now
  for (const Change& change : changes) {
    if (!IsChangeable(change.path)) {
      return absl::InternalError(absl::StrCat(change.path, " is not on the list of rule.cc"));
    }
    const absl::StatusOr<std::string> current = ValueOf(tree, change.path);
    if (!current.ok()) {
      outcomes.push_back({.path = change.path, .status = current.status()});
      continue;
    }
    if (*current == change.value) continue;
    AddRecord(tree, change, *current, &state);
    wanted.emplace_back(&change, *current);
  }
  if (wanted.empty()) return outcomes;
  RT_RETURN_IF_ERROR(WriteState(options.state_file, state));
  for (const auto& [change, current] : wanted) {
    outcomes.push_back(MakeChange(tree, options, *change, current));
  }
  RT_RETURN_IF_ERROR(KeepChanged(tree, std::move(state), options.state_file));
  return outcomes;
}

absl::StatusOr<std::vector<Outcome>> Revert(const Tree& tree, const ApplyOptions& options) {
  const auto nothing = [&options] {
    return absl::NotFoundError(
        absl::StrCat("nothing to put back: there is no ", options.state_file));
  };
  // Asked before the lock as well, which would make a directory for nothing.
  RT_ASSIGN_OR_RETURN(const std::optional<RevertState> before, ReadState(options.state_file));
  if (!before) return nothing();
  RT_ASSIGN_OR_RETURN(const StateLock lock, StateLock::Take(options.state_file));
  RT_ASSIGN_OR_RETURN(std::optional<RevertState> recorded, ReadState(options.state_file));
  if (!recorded) return nothing();
  RevertState& state = *recorded;
  // Of an earlier run, a value that is not ours has come with the start of the machine.
  const bool earlier_run = state.boot != BootOf(tree);
  std::vector<Outcome> outcomes;
  for (auto record = state.records.rbegin(); record != state.records.rend(); ++record) {
    outcomes.push_back(RevertOne(tree, options, *record));
  }
  // Looked at again at the end: some come back with others, a scheduler's nr_requests for one.
  std::vector<Record> kept;
  for (size_t i = 0; i < state.records.size(); ++i) {
    const Record& record = state.records[i];
    Outcome& outcome = outcomes[state.records.size() - 1 - i];
    if (IsBack(tree, record)) {
      outcome = {.path = outcome.path, .before = outcome.before, .after = record.former.value};
    } else if (!outcome.left || !earlier_run) {
      kept.push_back(record);
    }
  }
  state.records = std::move(kept);
  RT_RETURN_IF_ERROR(state.records.empty() ? RemoveState(options.state_file)
                                           : WriteState(options.state_file, state));
  return outcomes;
}

}  // namespace ringtail::tune
