// What topics exist, where their partitions live and who leads them. Changes are proposals: a
// caller learns whether its change was applied, met a conflict, or whether that is unknown (a write
// that failed midway), and must cope with all three.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/types.h"
#include "engine/task/task.h"
#include "server/cluster/image.h"

namespace ringtail::server {

struct CreateTopicProposal {
  std::string name;
  uint32_t partitions = 1;
  std::map<std::string, std::string> configs;
  bool validate_only = false;  // checked as ever, but nothing is changed
};

// What a topic is to become: all of it or nothing.
struct AlterTopicProposal {
  base::Uuid topic_id;
  std::vector<ConfigChange> configs;
  bool replace_configs = false;  // what `configs` does not name goes back to its default
  uint32_t partitions = 0;       // more than now; 0: as many
  bool validate_only = false;
};

// What is to be set of the broker itself: all of it or nothing.
struct AlterSettingsProposal {
  std::vector<ConfigChange> settings;  // by the knob's name
  bool replace = false;                // what `settings` does not name is no longer set
  bool validate_only = false;
};

struct ProposalResult {
  enum class Outcome : uint8_t { kApplied, kConflict, kUnknown };
  Outcome outcome = Outcome::kApplied;
  // With kConflict: why; with kUnknown: what happened; with kApplied: what is not as it should be
  // all the same.
  base::Failure failure;
  uint64_t version = 0;  // of the catalog: applied at, or current
  base::Uuid topic_id;   // of a created topic
};

// Lives on core 0 and is called there.
class Catalog {
 public:
  virtual ~Catalog() = default;

  virtual ImagePtr image() const = 0;
  // Applied: every core serves the topic when this returns.
  virtual task::Task<ProposalResult> CreateTopic(CreateTopicProposal proposal) = 0;
  // Each applied or not, on its own; together they cost one write. Applied: every core has taken
  // the configs over, and serves the new partitions.
  virtual task::Task<std::vector<ProposalResult>> AlterTopics(
      std::vector<AlterTopicProposal> proposals) = 0;
  // Applied: every core goes by it.
  virtual task::Task<ProposalResult> AlterSettings(AlterSettingsProposal proposal) = 0;
  // Applied: no core serves it when this returns; its files go in the background.
  virtual task::Task<ProposalResult> DeleteTopic(base::Uuid topic_id) = 0;
  // The directories of a deleted topic are gone.
  virtual task::Task<ProposalResult> ForgetTopic(base::Uuid topic_id) = 0;
  // Reserves `count` producer ids that nobody had before; the first in *first.
  virtual task::Task<ProposalResult> TakeProducerIds(int64_t count, int64_t* first) = 0;
};

}  // namespace ringtail::server
