// The disks below the data directory, network interfaces, and the interrupts of both.
#include <algorithm>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tools/tune/gather.h"

namespace ringtail::tune {
namespace {

constexpr int kStackedMax = 8;  // device mapper on RAID on disks; deeper is a loop in a fixture

std::string Parent(const std::string& path) { return path.substr(0, path.rfind('/')); }
std::string Name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

// The disk of a partition, else the device itself; empty: /sys does not know it.
std::string DiskOf(const Tree& tree, const std::string& link) {
  const std::string path = tree.Resolve(link);
  if (!tree.Exists(path)) return "";
  return tree.Exists(absl::StrCat(path, "/partition")) ? Name(Parent(path)) : Name(path);
}

// What `device` stands on; itself where that is nothing.
void FindDisks(const Tree& tree, const std::string& device, int depth,
               std::set<std::string>* disks) {
  const std::vector<std::string> below =
      tree.List(absl::StrCat("/sys/class/block/", device, "/slaves"));
  if (below.empty() || depth == kStackedMax) {
    disks->insert(device);
    return;
  }
  for (const std::string& name : below) {
    const std::string disk = DiskOf(tree, absl::StrCat("/sys/class/block/", name));
    if (!disk.empty()) FindDisks(tree, disk, depth + 1, disks);
  }
}

Disk ReadDisk(const Tree& tree, const std::string& name) {
  const std::string block = absl::StrCat("/sys/block/", name);
  const std::string queue = absl::StrCat(block, "/queue/");
  Disk disk;
  disk.name = name;
  const std::string path = tree.Resolve(block);
  disk.virtual_disk = absl::StrContains(path, "/virtio") || absl::StartsWith(name, "xvd");
  disk.node = ReadNode(tree, path);
  disk.rotational = ReadInt(tree, absl::StrCat(queue, "rotational"));
  disk.scheduler = ReadText(tree, absl::StrCat(queue, "scheduler"));
  for (const std::string& setting : tree.List(absl::StrCat(queue, "iosched"))) {
    disk.scheduler_settings.push_back(absl::StrCat(queue, "iosched/", setting));
  }
  disk.requests = ReadInt(tree, absl::StrCat(queue, "nr_requests"));
  disk.write_cache = ReadText(tree, absl::StrCat(queue, "write_cache"));
  disk.device_cache = ReadText(tree, absl::StrCat(block, "/cache_type"));  // virtio
  for (const std::string& scsi : tree.List(absl::StrCat(block, "/device/scsi_disk"))) {
    disk.device_cache =
        ReadText(tree, absl::StrCat(block, "/device/scsi_disk/", scsi, "/cache_type"));
  }
  disk.fua = ReadInt(tree, absl::StrCat(queue, "fua"));
  disk.throttle_latency_us = ReadInt(tree, absl::StrCat(queue, "wbt_lat_usec"));
  disk.interrupts = ReadInterrupts(tree, path);
  return disk;
}

// The directory, or what exists of it, as the broker makes it at its start.
std::string ExistingPart(const Tree& tree, std::string path) {
  while (path.size() > 1 && !tree.Exists(path)) path = Parent(path);
  return path.empty() ? "/" : tree.Resolve(path);
}

}  // namespace

int ReadNode(const Tree& tree, const std::string& path) {
  for (std::string at = path; at.size() > 1; at = Parent(at)) {
    const Fact<int64_t> node = ReadInt(tree, absl::StrCat(at, "/numa_node"));
    if (node.value)
      return *node.value >= 0 && *node.value < 1024 ? static_cast<int>(*node.value) : -1;
  }
  return -1;
}

DeviceInterrupts ReadInterrupts(const Tree& tree, const std::string& path) {
  DeviceInterrupts found;
  std::string at = path;
  while (at.size() > 1 && !tree.Exists(absl::StrCat(at, "/msi_irqs"))) at = Parent(at);
  found.source = absl::StrCat(at.size() > 1 ? at : path, "/msi_irqs");
  if (at.size() <= 1) {
    found.unknown = "no directory msi_irqs above the device";
    return found;
  }
  for (const std::string& number : tree.List(found.source)) {
    const std::optional<int64_t> irq = ParseInt(number);
    const std::string directory = absl::StrCat("/proc/irq/", number);
    const std::vector<std::string> names = tree.List(directory);
    // virtio has one for changes of the configuration, which never comes.
    const bool carries_data = std::none_of(names.begin(), names.end(), [](const std::string& name) {
      return absl::EndsWith(name, "-config");
    });
    const Fact<CpuList> allowed = ReadCpus(tree, absl::StrCat(directory, "/smp_affinity_list"));
    const Fact<CpuList> effective =
        ReadCpus(tree, absl::StrCat(directory, "/effective_affinity_list"));
    if (!irq || !carries_data || !allowed.value) continue;
    found.interrupts.push_back({.number = static_cast<int>(*irq),
                                .allowed = *allowed.value,
                                .effective = effective.value.value_or(*allowed.value)});
  }
  if (found.interrupts.empty()) found.unknown = "/proc/irq shows none of them";
  return found;
}

void GatherStorage(const Tree& tree, const std::string& directory, Machine* machine) {
  StorageFacts& facts = machine->storage;
  facts.directory = directory;
  facts.mount.source = "/proc/self/mountinfo";
  const absl::StatusOr<std::string> text = tree.Read(facts.mount.source);
  if (!text.ok()) {
    facts.mount.unknown = std::string(text.status().message());
    return;
  }
  const std::vector<Mount> mounts = ParseMountInfo(*text);
  const Mount* mount = MountOf(mounts, ExistingPart(tree, directory));
  if (mount == nullptr) {
    facts.mount.unknown = absl::StrCat("no line for ", directory);
    return;
  }
  facts.mount.value = *mount;
  facts.top = DiskOf(tree, absl::StrCat("/sys/dev/block/", mount->device));
  // Btrfs has device numbers of its own; the name it was mounted by leads on.
  if (facts.top.empty() && absl::StartsWith(mount->source, "/dev/")) {
    facts.top = DiskOf(tree, absl::StrCat("/sys/class/block/", Name(tree.Resolve(mount->source))));
  }
  if (mount->type == "ext4") {
    const std::string device = Name(tree.Resolve(absl::StrCat("/sys/dev/block/", mount->device)));
    facts.ext4_journal = ReadText(tree, absl::StrCat("/sys/fs/ext4/", device, "/journal_task"));
  }
  if (facts.top.empty()) return;
  facts.read_ahead_kib =
      ReadInt(tree, absl::StrCat("/sys/block/", facts.top, "/queue/read_ahead_kb"));
  std::set<std::string> disks;
  FindDisks(tree, facts.top, 0, &disks);
  for (const std::string& disk : disks) facts.disks.push_back(ReadDisk(tree, disk));
}

void GatherNetwork(const Tree& tree, Machine* machine) {
  for (const std::string& name : tree.List("/sys/class/net")) {
    const std::string link = absl::StrCat("/sys/class/net/", name);
    // What has no device behind it (lo, bridges, veth) has no interrupts either.
    if (!tree.Exists(absl::StrCat(link, "/device"))) continue;
    if (ReadText(tree, absl::StrCat(link, "/operstate")).value.value_or("") == "down") continue;
    Nic nic;
    nic.name = name;
    for (const std::string& queue : tree.List(absl::StrCat(link, "/queues"))) {
      if (absl::StartsWith(queue, "rx-")) ++nic.receive_queues;
    }
    nic.steering_cpus =
        ReadText(tree, absl::StrCat(link, "/queues/rx-0/rps_cpus")).value.value_or("");
    const std::string path = tree.Resolve(absl::StrCat(link, "/device"));
    nic.node = ReadNode(tree, path);
    nic.interrupts = ReadInterrupts(tree, path);
    machine->nics.push_back(std::move(nic));
  }
}

}  // namespace ringtail::tune
