// `ringtail log accept`: makes what is whole of a closed partition the whole truth about it.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tools/offline/verify.h"

namespace ringtail::offline {

struct LostRange {
  uint64_t first = 0;
  uint64_t next = 0;
  std::string what;
};

struct AcceptPlan {
  log::LogEnd end;              // where the log ends from then on
  std::vector<LostRange> lost;  // in order
  bool cuts = false;            // files change; else the checkpoint alone
  std::string set_aside;        // where the files go as they are now, if `cuts`
};

// FailedPrecondition: nothing is to be accepted here, or something else has to be done first.
absl::StatusOr<AcceptPlan> PlanAccept(const DataDir& dir, const PartitionFacts& facts,
                                      const PartitionReport& report);
// With the directory's lock held. The checkpoint is written last: cut off before, the partition is
// as closed as it was, and the command can be given again.
absl::Status Accept(BlockingBackend& io, const DataDir& dir, const PartitionFacts& facts,
                    const PartitionReport& report, const AcceptPlan& plan);

}  // namespace ringtail::offline
