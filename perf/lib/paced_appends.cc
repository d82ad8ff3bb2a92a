#include "perf/lib/paced_appends.h"

#include <unistd.h>

#include "perf/lib/broker.h"
#include "perf/lib/load.h"

namespace ringtail::perf {
namespace {

constexpr unsigned kZeroingSeconds = 2;  // the journal's first files get their zeros

}  // namespace

Figures RunPacedAppends(const PacedAppends& appends) {
  std::vector<std::string> flags = {"--durability=journal", "--cores=1"};
  flags.insert(flags.end(), appends.flags.begin(), appends.flags.end());
  const Broker broker(appends.ringtaild, flags);
  const PartitionAddress partition =
      CreateTopicOnCore0(broker.native_port(), "paced", appends.topic);
  sleep(kZeroingSeconds);
  const NativeConnection connection(partition.port);
  ProduceWire wire(partition, appends.record);
  LoadOptions load;
  load.rate_per_s = appends.rate_per_s;
  load.requests = static_cast<int64_t>(appends.rate_per_s * appends.seconds);
  load.warmup_requests = static_cast<int64_t>(appends.rate_per_s);
  return RunLoad(connection.fd(), wire, broker.pid(), load);
}

}  // namespace ringtail::perf
