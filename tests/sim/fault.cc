#include "tests/sim/fault.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"

namespace ringtail::sim {

int Faults::Add(FaultRule rule) {
  entries_.push_back({std::move(rule), next_id_});
  return next_id_++;
}

void Faults::Remove(int id) {
  Release(id);
  std::erase_if(entries_, [id](const Entry& entry) { return entry.id == id; });
}

void Faults::Clear() {
  Release(-1);
  entries_.clear();
}

const Faults::Entry* Faults::Find(int id) const {
  for (const Entry& entry : entries_) {
    if (entry.id == id) return &entry;
  }
  return nullptr;
}

uint64_t Faults::matched(int id) const {
  const Entry* entry = Find(id);
  return entry == nullptr ? 0 : entry->matched;
}

uint64_t Faults::fired(int id) const {
  const Entry* entry = Find(id);
  return entry == nullptr ? 0 : entry->fired;
}

bool Faults::released(int id) const {
  const Entry* entry = Find(id);
  return entry == nullptr || entry->released;
}

void Faults::Release(int id) {
  for (Entry& entry : entries_) {
    if (id < 0 || entry.id == id) entry.released = true;
  }
  if (on_release) on_release();
}

Faults::Hit Faults::Match(io::OpCode code, absl::string_view path, absl::string_view process,
                          Rng& rng) {
  Hit hit;
  std::function<void()> hook;
  for (Entry& entry : entries_) {
    const FaultRule& rule = entry.rule;
    if (!rule.codes.empty() && std::ranges::find(rule.codes, code) == rule.codes.end()) continue;
    if (!rule.path.empty() && !absl::StrContains(path, rule.path)) continue;
    if (!rule.process.empty() && process != rule.process) continue;
    ++entry.matched;
    if (hit.kind != FaultKind::kNone || entry.matched <= rule.skip) continue;
    if (entry.fired >= rule.count || entry.released || !rng.Chance(rule.probability)) continue;
    ++entry.fired;
    hit = {rule.kind, rule.error, rule.delay_ns, entry.id};
    hook = rule.hook;
  }
  if (hook) hook();
  return hit;
}

}  // namespace ringtail::sim
