#include "tools/tune/broker_flags.h"

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/config.h"
#include "tests/tools/tune/fixture.h"
#include "tools/tune/gather.h"

namespace ringtail::tune {
namespace {

TEST(BrokerFlagsTest, TheBrokerTakesWhatIsProposed) {
  for (const char* name :
       {"numa_server", "nvme_server", "container_v2", "container_v1", "laptop"}) {
    const Fixture fixture = Unpack(name);
    Machine machine = Gather(Tree(fixture.root), fixture.directory);
    for (const int64_t memory : {int64_t{64} << 20, int64_t{1} << 30, int64_t{1} << 40}) {
      machine.memory_bytes.value = memory;
      for (const Profile profile : kProfiles) {
        const std::vector<BrokerFlag> flags = ProposeFlags(machine, profile);
        std::vector<absl::string_view> arguments;
        for (const BrokerFlag& flag : flags) arguments.push_back(flag.flag);
        server::ConfigEnvironment environment;
        environment.root = true;
        environment.cpus = *machine.cpu.allowed.value;
        const auto loaded = server::LoadConfig(arguments, environment);
        EXPECT_TRUE(loaded.ok()) << BrokerCommand(machine, flags) << ": " << loaded.status();
      }
    }
  }
}

TEST(BrokerFlagsTest, AQuotaMakesFewerCoresThatAreNotPinned) {
  Machine machine;
  machine.cpu.allowed.value = CpuList{0, 1, 2, 3};
  machine.cgroup.cpus.value = 1.5;
  machine.storage.directory = "/srv/it's here";
  const std::vector<BrokerFlag> flags = ProposeFlags(machine, Profile::kThroughput);
  EXPECT_EQ(BrokerCommand(machine, flags),
            "ringtaild '--data_dir=/srv/it'\\''s here' --cores=1 --nopin_cores --busy_poll_us=0");
}

TEST(BrokerFlagsTest, OneCpuIsWrittenAsAList) {
  Machine machine;
  machine.cpu.online.value = CpuList{2, 3};
  machine.cpu.allowed.value = CpuList{2, 3};
  machine.cpu.siblings = {{2, {2, 3}}, {3, {2, 3}}};
  EXPECT_EQ(ProposeFlags(machine, Profile::kBalanced).at(0).flag, "--cores=2-2");
}

}  // namespace
}  // namespace ringtail::tune
