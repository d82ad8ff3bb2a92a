// Reads the facts. Only reads: the one thing that is asked of the kernel beyond files is whether
// io_uring_setup(2) would work, with arguments that it refuses in any case.
#pragma once

#include <string>

#include "tools/tune/machine.h"
#include "tools/tune/tree.h"

namespace ringtail::tune {

// `directory` is the broker's data directory; it need not exist yet. Where a broker runs on it, the
// limits looked at are that broker's.
Machine Gather(const Tree& tree, const std::string& directory);

// The parts, for those who put them together.
void GatherCpu(const Tree& tree, Machine* machine);
void GatherStorage(const Tree& tree, const std::string& directory, Machine* machine);
void GatherNetwork(const Tree& tree, Machine* machine);
void GatherCgroup(const Tree& tree, Machine* machine);

// Reading one file into a fact.
Fact<std::string> ReadText(const Tree& tree, const std::string& path);
Fact<int64_t> ReadInt(const Tree& tree, const std::string& path);
Fact<CpuList> ReadCpus(const Tree& tree, const std::string& path);
// The interrupts and the NUMA node of the device that /sys shows at `path`, or of what it hangs on.
DeviceInterrupts ReadInterrupts(const Tree& tree, const std::string& path);
int ReadNode(const Tree& tree, const std::string& path);

}  // namespace ringtail::tune
