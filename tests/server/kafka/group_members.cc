#include "tests/server/kafka/group_members.h"

#include <utility>

#include "tests/server/kafka/member_base.h"

namespace ringtail::kafka {
namespace {

constexpr base::Nanos kLifeMax = 4 * base::kNanosPerSecond;  // before it changes its protocol

}  // namespace

task::Task<void> RunMember(sim::SimNode* node, std::shared_ptr<GroupsWorld> world, MemberSpec spec,
                           Speaks speaks) {
  ++world->running;
  bool classic =
      speaks == Speaks::kClassic || (speaks == Speaks::kBoth && node->world().rng().Chance(0.5));
  while (!world->stop) {
    base::Nanos until = base::kNever;
    if (speaks == Speaks::kBoth) {
      until = node->world().now() + static_cast<base::Nanos>(node->world().rng().Below(kLifeMax));
    }
    if (classic) {
      co_await LiveAsClassic(*node, *world, spec, until);
    } else {
      co_await LiveAsConsumer(*node, *world, spec, until);
    }
    classic = !classic;
  }
  --world->running;
}

}  // namespace ringtail::kafka
