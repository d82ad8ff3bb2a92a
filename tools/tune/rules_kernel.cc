// The kernel's version and what of it the broker uses; whether io_uring is allowed.
#include "tools/tune/rule.h"

namespace ringtail::tune {
namespace {

void Version(const Machine& machine, Profile, Findings* findings) {
  Finding finding = About("kernel.version", "Linux", machine.kernel);
  Because(
      &finding,
      "6.1 is the least. 6.5 brings cachestat, to ask what is in the page cache; 6.14 "
      "RWF_DONTCACHE, to read old data without driving out new. The broker asks for each at its "
      "start and does without.",
      "README.md (Requirements); engine/io/uring_ring_setup.cc");
  if (machine.kernel.value) {
    const KernelVersion version = *machine.kernel.value;
    const auto since = [&version](int major, int minor) {
      return version >= KernelVersion{major, minor} ? "yes" : "no";
    };
    finding.found = absl::StrCat(machine.kernel_release, "; by its version: cachestat ",
                                 since(6, 5), ", RWF_DONTCACHE ", since(6, 14));
    if (version < KernelVersion{6, 1}) {
      Say(&finding, Verdict::kWarning, "the broker does not start: it needs Linux 6.1");
    }
  }
  findings->push_back(std::move(finding));
}

// What was found does not settle it.
void Unknown(Finding* finding, const std::string& why) {
  Say(finding, Verdict::kUnknown, absl::StrCat(finding->found, why.empty() ? "" : "; ", why));
  finding->found.clear();
}

void Uring(const Machine& machine, Profile, Findings* findings) {
  const Fact<std::string>& disabled = machine.sysctl("kernel.io_uring_disabled");
  Finding finding{.id = "kernel.io_uring", .title = "io_uring", .source = disabled.source};
  Because(&finding, "All of the broker's input and output goes through it.",
          "Documentation/admin-guide/sysctl/kernel.rst (io_uring_disabled, io_uring_group); "
          "io_uring_setup(2); README.md (Containers)");
  const std::string value = disabled.value.value_or("");
  finding.found = disabled.value ? absl::StrCat("io_uring_disabled ", value)
                                 : absl::StrCat("no io_uring_disabled (", disabled.unknown, ")");
  if (machine.uring.value) {
    absl::StrAppend(&finding.found, "; ", machine.uring.source, ": ", *machine.uring.value);
  }
  // Not for --apply: who may use io_uring is a question of security.
  const char* allow = "sysctl -w kernel.io_uring_disabled=0";
  const char* allow_always =
      "echo 'kernel.io_uring_disabled = 0' >> /etc/sysctl.d/90-ringtail.conf";
  if (value == "2" || (value == "1" && machine.uring.value.value_or("allowed") != "allowed")) {
    Say(&finding, Verdict::kWarning, "switched off: the broker does not start");
    finding.now = {allow};
    finding.lasting = {allow_always};
  } else if (value == "1") {
    Say(&finding, Verdict::kAdvice,
        absl::StrCat("only for root and the group ",
                     machine.sysctl("kernel.io_uring_group").value.value_or("unknown"),
                     " (kernel.io_uring_group): put the broker's user into a group and name it"));
    finding.now = {"sysctl -w kernel.io_uring_group=$(getent group ringtail | cut -d: -f3)"};
    finding.lasting = {
        "echo \"kernel.io_uring_group = $(getent group ringtail | cut -d: -f3)\" >> "
        "/etc/sysctl.d/90-ringtail.conf"};
  } else if (machine.uring.value && *machine.uring.value != "allowed") {
    Say(&finding, Verdict::kWarning,
        "refused here though no sysctl forbids it: a seccomp filter, as container runtimes have, "
        "or "
        "a kernel without it");
    finding.now = {"docker run --security-opt seccomp=PROFILE, see README.md (Containers)"};
  } else if (!machine.uring.value && machine.seccomp.value.value_or(0) == 2) {
    Unknown(&finding, absl::StrCat("a seccomp filter is in force (", machine.seccomp.source,
                                   "), and the files do not tell what it refuses"));
  } else if (!disabled.value && !machine.uring.value) {
    // The sysctl came with Linux 6.6; before, only a filter could refuse it.
    if (machine.kernel.value && *machine.kernel.value < KernelVersion{6, 6}) {
      finding.note = "this kernel has no switch for it, and no seccomp filter is in force";
    } else {
      Unknown(&finding, "");
    }
  }
  findings->push_back(std::move(finding));
}

}  // namespace

std::vector<Rule> KernelRules() { return {&Version, &Uring}; }

}  // namespace ringtail::tune
