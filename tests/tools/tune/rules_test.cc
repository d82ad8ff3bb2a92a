// Single rules: a machine with nothing to advise, one thing changed, and what is then said of it.
#include "tools/tune/rules.h"

#include <functional>

#include "gtest/gtest.h"
#include "tests/tools/tune/fixture.h"
#include "tools/tune/gather.h"

namespace ringtail::tune {
namespace {

Machine Good() {
  static const Machine kMachine = [] {
    const Fixture fixture = Unpack("numa_server");
    return Gather(Tree(fixture.root), fixture.directory);
  }();
  return kMachine;
}

Finding Said(const Machine& machine, Profile profile, const std::string& id) {
  for (const Finding& finding : Judge(machine, profile)) {
    if (finding.id == id) return finding;
  }
  ADD_FAILURE() << "no finding " << id;
  return {};
}

void Expect(Verdict verdict, const char* id, const std::function<void(Machine*)>& change,
            Profile profile = Profile::kBalanced) {
  Machine machine = Good();
  change(&machine);
  const Finding finding = Said(machine, profile, id);
  EXPECT_EQ(VerdictName(finding.verdict), VerdictName(verdict))
      << id << ", " << ProfileName(profile) << ": " << finding.found << "; " << finding.note;
}

TEST(RulesTest, FileSystems) {
  const auto type = [](const char* name) {
    return [name](Machine* machine) { machine->storage.mount.value->type = name; };
  };
  for (const char* name : {"xfs", "ext4"})
    Expect(Verdict::kFine, "storage.file_system", type(name));
  for (const char* name : {"btrfs", "zfs", "f2fs"}) {
    Expect(Verdict::kAdvice, "storage.file_system", type(name));
  }
  for (const char* name : {"tmpfs", "overlay", "nfs4", "9p", "fuse.sshfs", "fuseblk"}) {
    Expect(Verdict::kWarning, "storage.file_system", type(name), Profile::kLaptop);
  }
  Expect(Verdict::kWarning, "storage.file_system", [](Machine* machine) {
    machine->storage.mount.value->type = "ext4";
    machine->storage.ext4_journal.value = "<none>";
  });
}

TEST(RulesTest, MountOptions) {
  const auto options = [](const char* text) {
    return [text](Machine* machine) { machine->storage.mount.value->options = text; };
  };
  for (const char* text : {"rw,noatime", "rw,relatime,lazytime", "rw,noatime,discard=async"}) {
    Expect(Verdict::kFine, "storage.mount", options(text));
  }
  for (const char* text : {"rw", "rw,lazytime", "rw,noatime,discard", "rw,noatime,sync"}) {
    Expect(Verdict::kAdvice, "storage.mount", options(text));
    Expect(Verdict::kFine, "storage.mount", options(text), Profile::kLaptop);
  }
  for (const char* text : {"ro,noatime", "rw,noatime,nobarrier", "rw,noatime,barrier=0,discard",
                           "rw,noatime,data=journal"}) {
    Expect(Verdict::kWarning, "storage.mount", options(text), Profile::kLaptop);
  }
}

TEST(RulesTest, Schedulers) {
  const auto disk = [](const char* scheduler, int rotational, bool is_virtual) {
    return [=](Machine* machine) {
      machine->storage.disks[0].scheduler.value = scheduler;
      machine->storage.disks[0].rotational.value = rotational;
      machine->storage.disks[0].virtual_disk = is_virtual;
    };
  };
  Expect(Verdict::kFine, "storage.scheduler", disk("none [mq-deadline]", 0, false));
  Expect(Verdict::kAdvice, "storage.scheduler", disk("none [mq-deadline]", 0, false),
         Profile::kLatency);
  Expect(Verdict::kAdvice, "storage.scheduler", disk("none [bfq]", 1, true));
  Expect(Verdict::kFine, "storage.scheduler", disk("none [bfq]", 1, false));
  Expect(Verdict::kAdvice, "storage.scheduler", disk("[none] mq-deadline", 1, false));
  Expect(Verdict::kFine, "storage.scheduler", disk("[none]", 1, false));  // there is no other
  Expect(Verdict::kFine, "storage.scheduler", disk("none [bfq]", 0, false), Profile::kLaptop);
}

TEST(RulesTest, WriteCaches) {
  const auto cache = [](const char* kernel, const char* device) {
    return [=](Machine* machine) {
      machine->storage.disks[0].write_cache.value = kernel;
      machine->storage.disks[0].device_cache.value = device;
    };
  };
  Expect(Verdict::kFine, "storage.write_cache", cache("write back", "write back"));
  Expect(Verdict::kFine, "storage.write_cache", cache("write through", "write through"));
  Expect(Verdict::kWarning, "storage.write_cache", cache("write through", "write back"),
         Profile::kLaptop);
}

TEST(RulesTest, Governors) {
  const auto governor = [](const char* name, const char* driver) {
    return [=](Machine* machine) {
      machine->cpu.governor.cpus_by_value = {{name, {0, 1}}};
      machine->cpu.governor_driver = driver;
      machine->cpu.governors_available = {"performance", "powersave", "schedutil"};
    };
  };
  Expect(Verdict::kFine, "cpu.governor", governor("powersave", "intel_pstate"));
  Expect(Verdict::kAdvice, "cpu.governor", governor("powersave", "acpi-cpufreq"));
  Expect(Verdict::kFine, "cpu.governor", governor("ondemand", "acpi-cpufreq"));
  Expect(Verdict::kAdvice, "cpu.governor", governor("powersave", "intel_pstate"),
         Profile::kThroughput);
  Expect(Verdict::kFine, "cpu.governor", governor("performance", "x"), Profile::kLatency);
}

TEST(RulesTest, DeepIdleStatesThatNobodyEntersAreFine) {
  const auto bound = [](int64_t us) {
    return [us](Machine* machine) { machine->cpu.dma_latency_us.value = us; };
  };
  Expect(Verdict::kAdvice, "cpu.idle", bound(2'000'000'000), Profile::kLatency);
  Expect(Verdict::kAdvice, "cpu.idle", bound(290), Profile::kLatency);
  Expect(Verdict::kFine, "cpu.idle", bound(0), Profile::kLatency);
  Expect(Verdict::kFine, "cpu.idle", bound(2'000'000'000), Profile::kThroughput);
}

TEST(RulesTest, Uring) {
  const auto set = [](const char* disabled, const char* probe, int seccomp) {
    return [=](Machine* machine) {
      machine->sysctls["kernel.io_uring_disabled"].value = disabled;
      machine->uring.value.reset();
      if (probe != nullptr) machine->uring.value = probe;
      machine->seccomp.value = seccomp;
    };
  };
  Expect(Verdict::kFine, "kernel.io_uring", set("0", nullptr, 0));
  Expect(Verdict::kFine, "kernel.io_uring", set("0", "allowed", 2));
  Expect(Verdict::kUnknown, "kernel.io_uring", set("0", nullptr, 2));
  Expect(Verdict::kWarning, "kernel.io_uring", set("0", "Operation not permitted", 2));
  Expect(Verdict::kAdvice, "kernel.io_uring", set("1", "allowed", 0));
  Expect(Verdict::kWarning, "kernel.io_uring", set("1", "Operation not permitted", 0));
  Expect(Verdict::kWarning, "kernel.io_uring", set("2", nullptr, 0));
}

TEST(RulesTest, Quotas) {
  const auto quota = [](double cpus, int64_t throttled) {
    return [=](Machine* machine) {
      machine->cgroup.cpus.value = cpus;
      machine->cgroup.throttled.value = throttled;
    };
  };
  Expect(Verdict::kAdvice, "cgroup.cpu", quota(2.5, 0));
  Expect(Verdict::kWarning, "cgroup.cpu", quota(2.5, 0), Profile::kLatency);
  Expect(Verdict::kWarning, "cgroup.cpu", quota(2.5, 9), Profile::kLaptop);
  Expect(Verdict::kFine, "cgroup.cpu", quota(2.5, 0), Profile::kLaptop);
}

TEST(RulesTest, RootIsNotBoundByTheMemoryItMayLock) {
  const auto limit = [](int64_t bytes, int64_t may_lock) {
    return [=](Machine* machine) {
      machine->locked_memory.value = Limit{bytes, bytes};
      machine->may_lock_memory.value = may_lock;
    };
  };
  Expect(Verdict::kWarning, "limits.memlock", limit(65536, 0));
  Expect(Verdict::kInfo, "limits.memlock", limit(65536, 1));
  Expect(Verdict::kFine, "limits.memlock", limit(8 << 20, 0));
}

TEST(RulesTest, DirtyLimitsAreLeftWhereTheyAreInBytesAlready) {
  Machine machine = Good();
  machine.sysctls["vm.dirty_background_ratio"].value = "0";
  machine.sysctls["vm.dirty_background_bytes"].value = "268435456";
  const Finding finding = Said(machine, Profile::kLatency, "memory.dirty_background");
  EXPECT_EQ(finding.verdict, Verdict::kFine);
  EXPECT_EQ(finding.source, "/proc/sys/vm/dirty_background_bytes");
}

TEST(RulesTest, ARecordCannotNameOtherFiles) {
  for (const char* path :
       {"/etc/shadow", "/proc/sys/kernel/core_pattern", "/proc/sys/vm/../kernel/core_pattern",
        "/sys/block/../../etc/passwd/queue/scheduler", "/sys/block/vda/queue/../scheduler",
        "/sys/block/vda/x/queue/scheduler", "/sys/block/vda/queue/write_cache", "",
        "/sys/devices/system/cpu/cpu0/online", "proc/sys/vm/swappiness",
        "/sys/block/./queue/scheduler", "/sys/block/vda/queue/iosched/..",
        "/sys/devices/system/cpu/cpu0/../cpufreq/scaling_governor"}) {
    EXPECT_FALSE(IsChangeable(path)) << path;
  }
  EXPECT_TRUE(IsChangeable("/sys/block/vda/queue/scheduler"));
  EXPECT_TRUE(IsChangeable("/sys/devices/system/cpu/cpu12/cpuidle/state3/disable"));
}

// Whatever it is: nothing falls over, and io_uring was asked for.
TEST(GatherTest, ThisMachine) {
  const Machine machine = Gather(Tree("/"), "/var/lib/ringtail");
  EXPECT_TRUE(machine.uring.value.has_value());
  EXPECT_TRUE(machine.kernel.value.has_value());
  for (const Profile profile : kProfiles) EXPECT_FALSE(Judge(machine, profile).empty());
}

}  // namespace
}  // namespace ringtail::tune
