// An immutable version of the catalog. Each core holds a reference to the newest it was given; the
// reference count is touched only when the catalog changes.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "engine/base/types.h"
#include "proto/catalog.pb.h"
#include "server/cluster/topic_config.h"

namespace ringtail::server {

struct PartitionImage {
  uint16_t slot = 0;
  int32_t leader_broker = -1;  // -1: none
  int32_t leader_epoch = 0;
};

struct TopicImage {
  std::string name;
  base::Uuid id;
  std::map<std::string, std::string> config_entries;  // as set
  TopicConfig config;
  std::vector<PartitionImage> partitions;
  bool internal = false;  // the broker's own (internal_topics.h)
};

using Settings = std::map<std::string, std::string>;

class Image {
 public:
  // DataLoss names what does not make sense.
  static absl::StatusOr<std::shared_ptr<const Image>> FromProto(
      const proto::catalog::CatalogFile& file);

  uint64_t version() const { return version_; }
  const base::Uuid& cluster_id() const { return cluster_id_; }
  int32_t broker_id() const { return broker_id_; }
  uint64_t incarnation() const { return incarnation_; }

  // What has been set of the broker while it ran, by the name of the knob.
  const Settings& settings() const { return settings_; }

  // nullptr: no such topic. Valid as long as the image.
  const TopicImage* FindByName(absl::string_view name) const;
  const TopicImage* FindById(const base::Uuid& id) const;
  const std::vector<TopicImage>& topics() const { return topics_; }  // by name

 private:
  uint64_t version_ = 0;
  base::Uuid cluster_id_;
  int32_t broker_id_ = 0;
  uint64_t incarnation_ = 0;
  Settings settings_;
  std::vector<TopicImage> topics_;
  absl::flat_hash_map<absl::string_view, const TopicImage*> by_name_;
  absl::flat_hash_map<base::Uuid, const TopicImage*> by_id_;
};

using ImagePtr = std::shared_ptr<const Image>;

// Kafka's node id of a core: readable, and stored nowhere (cluster.md).
inline constexpr int32_t kCoresPerBrokerMax = 1000;
inline int32_t NodeId(int32_t broker_id, base::CoreId core) {
  return broker_id * kCoresPerBrokerMax + static_cast<int32_t>(core.value());
}

}  // namespace ringtail::server
