#include "server/cluster/image.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/result.h"
#include "server/cluster/internal_topics.h"

namespace ringtail::server {
namespace {

constexpr uint32_t kSlotMax = 65535;

absl::StatusOr<TopicImage> TopicFromProto(const proto::catalog::Topic& topic) {
  TopicImage image;
  image.name = topic.name();
  image.internal = IsInternalTopic(image.name);
  RT_RETURN_IF_ERROR(ValidateTopicName(image.name));
  if (!base::Uuid::FromBytes(base::AsBytes(topic.topic_id()), &image.id)) {
    return absl::DataLossError(absl::StrCat("topic ", image.name, ": its id is not 16 bytes"));
  }
  image.config_entries = {topic.configs().begin(), topic.configs().end()};
  RT_ASSIGN_OR_RETURN(image.config, ParseTopicConfig(image.config_entries));
  for (const auto& state : topic.partitions()) {
    if (state.slot() > kSlotMax) {
      return absl::DataLossError(
          absl::StrCat("topic ", image.name, ": slot ", state.slot(), " is over ", kSlotMax));
    }
    image.partitions.push_back({.slot = static_cast<uint16_t>(state.slot()),
                                .leader_broker = state.leader(),
                                .leader_epoch = state.leader_epoch()});
  }
  return image;
}

}  // namespace

absl::StatusOr<ImagePtr> Image::FromProto(const proto::catalog::CatalogFile& file) {
  auto image = std::make_shared<Image>();
  image->version_ = file.version();
  image->broker_id_ = static_cast<int32_t>(file.broker_id());
  image->incarnation_ = file.incarnation();
  if (!base::Uuid::FromBytes(base::AsBytes(file.cluster_id()), &image->cluster_id_)) {
    return absl::DataLossError("the cluster id is not 16 bytes");
  }
  image->settings_ = {file.settings().begin(), file.settings().end()};
  for (const auto& topic : file.topics()) {
    RT_ASSIGN_OR_RETURN(TopicImage topic_image, TopicFromProto(topic));
    image->topics_.push_back(std::move(topic_image));
  }
  std::sort(image->topics_.begin(), image->topics_.end(),
            [](const TopicImage& a, const TopicImage& b) { return a.name < b.name; });
  for (const TopicImage& topic : image->topics_) {
    if (!image->by_name_.emplace(topic.name, &topic).second ||
        !image->by_id_.emplace(topic.id, &topic).second) {
      return absl::DataLossError(
          absl::StrCat("topic ", topic.name, ": its name or id is not unique"));
    }
  }
  return ImagePtr(std::move(image));
}

const TopicImage* Image::FindByName(absl::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : found->second;
}

const TopicImage* Image::FindById(const base::Uuid& id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second;
}

}  // namespace ringtail::server
