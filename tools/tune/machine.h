// What was found out about a machine: values, and where each comes from. Nothing here judges.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tools/tune/parse.h"

namespace ringtail::tune {

// Either a value, or the reason why there is none.
template <typename T>
struct Fact {
  std::optional<T> value;
  std::string source;   // the file, as it is named on the machine
  std::string unknown;  // "No such file or directory"; empty where there is a value
};

// One file for each CPU: which CPUs have which value.
struct PerCpu {
  std::map<std::string, CpuList> cpus_by_value;
  std::string source;  // with cpuN
  std::string unknown;
};

struct IdleState {
  int index = 0;
  std::string name;
  int64_t exit_latency_us = 0;
  CpuList enabled_on;
};

struct NumaNode {
  int id = 0;
  CpuList cpus;
};

struct CpuFacts {
  Fact<CpuList> online;
  Fact<CpuList> present;
  Fact<CpuList> isolated;
  Fact<CpuList> allowed;            // of the subject
  std::map<int, CpuList> siblings;  // hardware threads of the same core; by online CPU
  Fact<int64_t> smt_active;         // 0 or 1
  std::vector<NumaNode> nodes;      // those with CPUs
  PerCpu governor;
  std::string governor_driver;  // of the first CPU
  std::vector<std::string> governors_available;
  Fact<std::string> idle_driver;
  std::vector<IdleState> idle_states;
  Fact<int64_t> dma_latency_us;  // what all who hold /dev/cpu_dma_latency agree on
  Fact<std::string> clocksource;
  std::vector<std::string> clocksources_available;
};

struct Interrupt {
  int number = 0;
  CpuList allowed;    // smp_affinity_list
  CpuList effective;  // where it is delivered
};

// The interrupts of a device that carry data; those that tell of a changed configuration are not
// among them.
struct DeviceInterrupts {
  std::vector<Interrupt> interrupts;
  std::string source;
  std::string unknown;
};

struct Nic {
  std::string name;
  int receive_queues = 0;
  std::string steering_cpus;  // rps_cpus of its first queue
  int node = -1;
  DeviceInterrupts interrupts;
};

// A disk that holds the data directory, or a part of it.
struct Disk {
  std::string name;  // "nvme0n1"
  int node = -1;
  bool virtual_disk = false;  // virtio or Xen: what it is made of is the host's secret
  Fact<int64_t> rotational;
  Fact<std::string> scheduler;                  // all, the one in use in brackets
  std::vector<std::string> scheduler_settings;  // its own files, which go with it
  Fact<int64_t> requests;
  Fact<std::string> write_cache;   // what the kernel believes
  Fact<std::string> device_cache;  // what the device has said, where it can be read
  Fact<int64_t> fua;
  Fact<int64_t> throttle_latency_us;
  DeviceInterrupts interrupts;
};

struct StorageFacts {
  std::string directory;
  Fact<Mount> mount;
  Fact<std::string> ext4_journal;  // its thread, "<none>" without a journal; for ext4 alone
  std::string top;                 // the block device that is mounted, "dm-0"; empty: none
  Fact<int64_t> read_ahead_kib;    // of the top device
  std::vector<Disk> disks;         // what it stands on, itself where it is a disk
};

struct CgroupFacts {
  int version = 0;  // 0: unknown, or none; 1 where any controller is of version 1
  // The tightest limit of the group and those above it; no value and no `unknown`: no limit.
  Fact<double> cpus;
  Fact<int64_t> throttled;
  Fact<int64_t> memory_max;
  Fact<int64_t> memory_high;
  Fact<std::string> cpuset;
  Fact<std::string> io_max;
};

struct Machine {
  // Whose limits these are: a running broker's, or this program's own.
  std::string subject = "/proc/self";
  bool subject_is_broker = false;

  CpuFacts cpu;
  StorageFacts storage;
  CgroupFacts cgroup;
  std::vector<Nic> nics;
  std::map<std::string, Fact<std::string>> sysctls;  // "vm.swappiness"

  Fact<int64_t> memory_bytes;
  Fact<std::vector<std::string>> swaps;  // /proc/swaps
  Fact<std::string> huge_pages;          // all, the one in use in brackets
  Fact<std::string> huge_pages_defrag;
  Fact<Limit> descriptors;
  Fact<Limit> locked_memory;
  Fact<int64_t> may_lock_memory;  // CAP_IPC_LOCK, 0 or 1
  Fact<int64_t> seccomp;          // 0 none, 1 strict, 2 a filter

  Fact<KernelVersion> kernel;
  std::string kernel_release;
  // What io_uring_setup(2) says to this program; not asked of another machine's files.
  Fact<std::string> uring;
  Fact<std::string> virtualisation;
  // What tells of a container; no value: nothing does. A machine whose own processes are all seen
  // is none, though its root may have come out of an image and still have the mark.
  Fact<std::string> container;
  bool sees_all_processes = false;
  Fact<int64_t> irqbalance_pid;  // no value and no `unknown`: it does not run
  Fact<std::string> boot;        // kernel.random.boot_id
  std::map<std::string, std::string> vulnerabilities;

  const Fact<std::string>& sysctl(const std::string& name) const {
    static const Fact<std::string> kNone{.unknown = "not looked at"};
    const auto found = sysctls.find(name);
    return found == sysctls.end() ? kNone : found->second;
  }
};

// "vm.swappiness" to "/proc/sys/vm/swappiness".
std::string SysctlPath(const std::string& name);

}  // namespace ringtail::tune
