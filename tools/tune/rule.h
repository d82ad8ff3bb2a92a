// What rules are made of.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tools/tune/finding.h"
#include "tools/tune/machine.h"

namespace ringtail::tune {

using Findings = std::vector<Finding>;
// Adds what it has to say about its subject: one finding, or one for each device.
using Rule = void (*)(const Machine& machine, Profile profile, Findings* findings);

// By subject; each has its file.
std::vector<Rule> CpuRules();
std::vector<Rule> InterruptRules();
std::vector<Rule> StorageRules();
std::vector<Rule> MemoryRules();
std::vector<Rule> LimitRules();
std::vector<Rule> CgroupRules();
std::vector<Rule> NetworkRules();
std::vector<Rule> KernelRules();

// A finding about `fact`: unknown with its reason where it has no value, else fine. `found` is for
// the caller to fill.
template <typename T>
Finding About(const char* id, const std::string& title, const Fact<T>& fact) {
  Finding finding{.id = id, .title = title, .source = fact.source};
  if (!fact.value) {
    finding.verdict = Verdict::kUnknown;
    finding.note = fact.unknown.empty() ? "there is no such limit or value" : fact.unknown;
  }
  return finding;
}

// About a sysctl, with its text as what was found.
Finding AboutSysctl(const Machine& machine, const char* id, const char* title, const char* name);

void Because(Finding* finding, const char* why, const char* reference);
void Say(Finding* finding, Verdict verdict, std::string note);

// Adds the commands and the change that set it. `also` is a sysctl that the kernel changes with it.
void SetSysctl(Finding* finding, const std::string& name, const std::string& value,
               const std::string& also = "");
// The same for a file of /sys; tmpfiles.d(5) makes it last.
void SetFile(Finding* finding, const std::string& path, const std::string& value);

std::string SizeText(int64_t bytes);  // "1.5 GiB"

// How many CPUs the broker would have cores on: what it may use, less what a quota leaves.
int CoreCount(const Machine& machine);
bool InContainer(const Machine& machine);

}  // namespace ringtail::tune
