#include "tools/client/client.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "engine/base/bytes.h"
#include "engine/base/result.h"
#include "tools/client/consumer.h"
#include "tools/client/producer.h"

namespace ringtail::client {
namespace {

constexpr size_t kSpareBytesMax = 32 << 20;
constexpr Nanos kRetryPause = 50 * base::kNanosPerMilli;

}  // namespace

absl::StatusOr<std::unique_ptr<Client>> Client::Connect(ClientOptions options) {
  RT_ASSIGN_OR_RETURN(std::vector<Address> bootstrap,
                      ParseAddresses(options.bootstrap, kDefaultPort));
  std::unique_ptr<Client> client(new Client(std::move(options), std::move(bootstrap)));
  RT_RETURN_IF_ERROR(client->ConnectFirst());
  return client;
}

Client::Client(ClientOptions options, std::vector<Address> bootstrap)
    : options_(std::move(options)),
      bootstrap_(std::move(bootstrap)),
      request_timeout_(absl::ToInt64Nanoseconds(options_.request_timeout)),
      busy_poll_(absl::ToInt64Nanoseconds(options_.busy_poll)),
      pool_(kSpareBytesMax) {
  connection_options_.client_id = options_.client_id;
  connection_options_.connect_timeout = absl::ToInt64Nanoseconds(options_.connect_timeout);
  admin_ = NewRouter();
  metadata_ = std::make_unique<Metadata>(&loop_, admin_->bootstrap(), request_timeout_);
}

Client::~Client() = default;

std::unique_ptr<Router> Client::NewRouter() {
  return std::make_unique<Router>(&loop_, bootstrap_, &connection_options_, &pool_);
}

absl::Status Client::ConnectFirst() {
  Connection* connection = admin_->bootstrap();
  for (size_t i = 0; i < bootstrap_.size(); ++i) {
    const int failures = connection->failures();
    connection->Connect();
    while (connection->state() == Connection::State::kConnecting &&
           connection->failures() == failures) {
      Turn(base::kNever);
    }
    if (connection->state() == Connection::State::kReady) return absl::OkStatus();
    if (connection->state() == Connection::State::kRefused) break;
  }
  return Annotate(connection->last_error(), "cannot connect to the broker");
}

void Client::Turn(Nanos until) { loop_.Turn(until, busy_poll_); }

void Client::Poll(absl::Duration wait) { Turn(After(Now(), wait)); }

absl::Duration Client::NextWake() const {
  const Nanos next = loop_.NextWake();
  return next == base::kNever ? absl::InfiniteDuration()
                              : absl::Nanoseconds(std::max<Nanos>(0, next - Now()));
}

bool Client::RunUntil(Nanos deadline, const std::function<bool()>& done) {
  while (!done()) {
    if (Now() >= deadline) return false;
    Turn(deadline);
  }
  return true;
}

absl::Status Client::AwaitReady(Connection* connection, Nanos deadline) {
  const auto ready = [&] {
    if (connection->state() == Connection::State::kIdle) connection->Connect();
    return connection->state() == Connection::State::kReady ||
           connection->state() == Connection::State::kRefused;
  };
  if (RunUntil(deadline, ready) && connection->state() == Connection::State::kReady) {
    return absl::OkStatus();
  }
  return Annotate(connection->last_error(), "cannot connect to the broker");
}

absl::Status Client::Call(Connection* connection, wire::RequestHeader* request,
                          wire::ResponseHeader* response, Nanos deadline) {
  bool done = false;
  absl::Status result;
  connection->Call(request, {}, deadline, [&](const absl::Status& status, Reply* reply) {
    done = true;
    result = status;
    if (reply != nullptr) *response = *reply->header;
  });
  // The connection keeps the deadline.
  while (!done) Turn(base::kNever);
  return result;
}

absl::Status Client::CallBootstrap(wire::RequestHeader* request, wire::ResponseHeader* response,
                                   Repeat repeat) {
  const Nanos deadline = Now() + request_timeout_;
  while (true) {
    RT_RETURN_IF_ERROR(AwaitReady(admin_->bootstrap(), deadline));
    const absl::Status status = Call(admin_->bootstrap(), request, response, deadline);
    const bool told = ErrorCodeOf(status) != wire::Error::INTERNAL;
    // Retriable for who has just created the topic, but every core knew it before that was
    // answered.
    if (absl::IsNotFound(status)) return status;
    if (status.ok() || !IsRetriable(status) || (repeat == Repeat::kNever && !told)) return status;
    const Nanos pause =
        std::max(kRetryPause, Nanos{RetryAfterMillis(status)} * base::kNanosPerMilli);
    const Nanos resume = Now() + pause;
    if (resume >= deadline) return status;
    RunUntil(resume, [] { return false; });
  }
}

absl::StatusOr<base::Uuid> Client::CreateTopic(absl::string_view name,
                                               const CreateTopicOptions& options) {
  wire::RequestHeader request;
  wire::CreateTopicRequest* create = request.mutable_create_topic();
  create->set_name(std::string(name));
  create->set_partitions(options.partitions);
  for (const auto& [key, value] : options.configs) {
    wire::ConfigEntry* entry = create->add_configs();
    entry->set_name(key);
    entry->set_value(value);
  }
  wire::ResponseHeader response;
  const absl::Status status = CallBootstrap(&request, &response, Repeat::kNever);
  metadata_->Forget(name);
  RT_RETURN_IF_ERROR(Annotate(status, absl::StrCat("create topic '", name, "'")));
  base::Uuid id;
  if (!base::Uuid::FromBytes(base::AsBytes(response.create_topic().topic_id()), &id)) {
    return absl::InternalError("create topic: the broker's topic id is not 16 bytes");
  }
  return id;
}

absl::StatusOr<uint32_t> Client::AlterTopic(absl::string_view name,
                                            const AlterTopicOptions& options) {
  wire::RequestHeader request;
  wire::AlterTopicRequest* alter = request.mutable_alter_topic();
  alter->set_name(std::string(name));
  for (const auto& [key, value] : options.set) {
    wire::ConfigEntry* entry = alter->add_set();
    entry->set_name(key);
    entry->set_value(value);
  }
  for (const std::string& key : options.reset) alter->add_reset(key);
  alter->set_partitions(options.partitions);
  alter->set_validate_only(options.validate_only);
  wire::ResponseHeader response;
  const absl::Status status = CallBootstrap(&request, &response, Repeat::kNever);
  metadata_->Forget(name);
  RT_RETURN_IF_ERROR(Annotate(status, absl::StrCat("alter topic '", name, "'")));
  return response.alter_topic().partitions();
}

absl::StatusOr<std::vector<int64_t>> Client::DeleteRecords(absl::string_view topic,
                                                           const std::vector<int32_t>& partitions,
                                                           int64_t before) {
  wire::RequestHeader request;
  for (const int32_t partition : partitions) {
    wire::PartitionCut* cut = request.mutable_delete_records()->add_partitions();
    cut->set_topic(std::string(topic));
    cut->set_partition(static_cast<uint32_t>(partition));
    cut->set_before(before);
  }
  const std::string what = absl::StrCat("delete records of topic '", topic, "'");
  wire::ResponseHeader response;
  RT_RETURN_IF_ERROR(Annotate(CallBootstrap(&request, &response, Repeat::kNever), what));
  const wire::DeleteRecordsResponse& from = response.delete_records();
  if (static_cast<size_t>(from.partitions_size()) != partitions.size()) {
    return absl::InternalError(absl::StrCat(what, ": the broker's answer leaves partitions out"));
  }
  std::vector<int64_t> starts;
  for (size_t i = 0; i < partitions.size(); ++i) {
    const wire::PartitionStart& one = from.partitions(static_cast<int>(i));
    RT_RETURN_IF_ERROR(ToStatus(one.error(), absl::StrCat(what, ": partition ", partitions[i])));
    starts.push_back(one.log_start_offset());
  }
  return starts;
}

absl::Status Client::DeleteTopic(absl::string_view name) {
  wire::RequestHeader request;
  request.mutable_delete_topic()->set_name(std::string(name));
  wire::ResponseHeader response;
  const absl::Status status = CallBootstrap(&request, &response, Repeat::kNever);
  metadata_->Forget(name);
  return Annotate(status, absl::StrCat("delete topic '", name, "'"));
}

absl::StatusOr<TopicDescription> Client::DescribeTopic(absl::string_view name) {
  wire::RequestHeader request;
  request.mutable_describe_topic()->set_name(std::string(name));
  wire::ResponseHeader response;
  RT_RETURN_IF_ERROR(Annotate(CallBootstrap(&request, &response, Repeat::kIfRetriable),
                              absl::StrCat("describe topic '", name, "'")));
  const wire::DescribeTopicResponse& from = response.describe_topic();
  TopicDescription topic;
  topic.name = from.name();
  base::Uuid::FromBytes(base::AsBytes(from.topic_id()), &topic.id);
  for (const wire::PartitionDescription& one : from.partitions()) {
    PartitionDescription& partition = topic.partitions.emplace_back();
    partition.leader_node = one.metadata().leader_node();
    partition.leader_epoch = one.metadata().leader_epoch();
    partition.status = ToStatus(one.error(), "");
    partition.log_start_offset = one.log_start_offset();
    partition.high_watermark = one.high_watermark();
    partition.log_end_offset = one.log_end_offset();
    partition.log_bytes = one.log_bytes();
    partition.segments = one.segments();
  }
  for (const wire::ConfigEntry& entry : from.configs()) {
    topic.configs.push_back({entry.name(), entry.value(), entry.is_default()});
  }
  return topic;
}

absl::StatusOr<ClusterDescription> Client::DescribeCluster() {
  wire::RequestHeader request;
  request.mutable_metadata()->set_all_topics(true);
  wire::ResponseHeader response;
  RT_RETURN_IF_ERROR(
      Annotate(CallBootstrap(&request, &response, Repeat::kIfRetriable), "list topics"));
  ClusterDescription cluster;
  cluster.cluster_id = hello().cluster_id();
  for (const wire::Node& node : response.metadata().nodes()) {
    cluster.nodes.push_back(
        {node.node_id(), node.core(), {node.host(), static_cast<uint16_t>(node.port())}});
  }
  for (const wire::TopicMetadata& topic : response.metadata().topics()) {
    RT_RETURN_IF_ERROR(ToStatus(topic.error(), absl::StrCat("topic '", topic.name(), "'")));
    RT_RETURN_IF_ERROR(ReadTopic(topic, &cluster.topics.emplace_back()));
  }
  std::sort(cluster.nodes.begin(), cluster.nodes.end(),
            [](const NodeInfo& a, const NodeInfo& b) { return a.node_id < b.node_id; });
  std::sort(cluster.topics.begin(), cluster.topics.end(),
            [](const TopicInfo& a, const TopicInfo& b) { return a.name < b.name; });
  return cluster;
}

absl::StatusOr<const TopicInfo*> Client::FindTopic(absl::string_view topic, Nanos deadline) {
  const TopicInfo* info = metadata_->Find(topic);
  if (info != nullptr) return info;
  // An error from an earlier question says nothing about now.
  metadata_->Forget(topic);
  metadata_->Refresh(topic);
  RunUntil(deadline, [&] {
    if (metadata_->Find(topic) != nullptr) return true;
    const absl::Status error = metadata_->ErrorOf(topic);
    return !error.ok() && !absl::IsUnavailable(error);
  });
  info = metadata_->Find(topic);
  if (info != nullptr) return info;
  const absl::Status error = metadata_->ErrorOf(topic);
  if (error.ok()) {
    return absl::DeadlineExceededError(
        absl::StrCat("topic '", topic, "': no metadata from the broker within the deadline"));
  }
  return error;
}

absl::StatusOr<int32_t> Client::PartitionCount(absl::string_view topic) {
  RT_ASSIGN_OR_RETURN(const TopicInfo* info, FindTopic(topic, Now() + request_timeout_));
  return static_cast<int32_t>(info->partitions.size());
}

absl::Status Client::ListOffsetsAt(int32_t node, const TopicInfo& topic, StartAt at,
                                   const std::vector<int32_t>& partitions,
                                   const std::vector<size_t>& indexes, Nanos deadline,
                                   std::vector<int64_t>* offsets) {
  wire::RequestHeader request;
  for (const size_t index : indexes) {
    wire::PartitionPoint* point = request.mutable_list_offsets()->add_partitions();
    point->set_topic_id(topic.id.bytes.data(), topic.id.bytes.size());
    point->set_partition(static_cast<uint32_t>(partitions[index]));
    point->set_point(at.kind == StartAt::Kind::kBeginning ? wire::PartitionPoint::EARLIEST
                     : at.kind == StartAt::Kind::kEnd     ? wire::PartitionPoint::LATEST
                                                          : wire::PartitionPoint::TIMESTAMP);
    point->set_timestamp_ms(at.value);
  }
  wire::ResponseHeader response;
  RT_RETURN_IF_ERROR(Call(admin_->For(node, *metadata_), &request, &response, deadline));
  const wire::ListOffsetsResponse& from = response.list_offsets();
  if (static_cast<size_t>(from.partitions_size()) != indexes.size()) {
    return absl::InternalError("the broker's answer leaves partitions out");
  }
  for (size_t i = 0; i < indexes.size(); ++i) {
    const wire::PartitionOffset& one = from.partitions(static_cast<int>(i));
    RT_RETURN_IF_ERROR(ToStatus(one.error(), absl::StrCat("partition ", partitions[indexes[i]])));
    (*offsets)[indexes[i]] = one.offset();
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<int64_t>> Client::ListOffsets(absl::string_view topic,
                                                         const std::vector<int32_t>& partitions,
                                                         StartAt at) {
  std::vector<int64_t> offsets(partitions.size(), at.value);
  if (at.kind == StartAt::Kind::kOffset) return offsets;
  const Nanos deadline = Now() + request_timeout_;
  while (true) {
    RT_ASSIGN_OR_RETURN(const TopicInfo* found, FindTopic(topic, deadline));
    const TopicInfo info = *found;
    std::map<int32_t, std::vector<size_t>> by_node;
    for (size_t i = 0; i < partitions.size(); ++i) {
      const auto index = static_cast<size_t>(partitions[i]);
      if (partitions[i] < 0 || index >= info.partitions.size()) {
        return absl::NotFoundError(absl::StrCat("topic '", topic, "' has ", info.partitions.size(),
                                                " partitions, no partition ", partitions[i]));
      }
      by_node[info.partitions[index].leader_node].push_back(i);
    }
    absl::Status status;
    for (const auto& [node, indexes] : by_node) {
      status = ListOffsetsAt(node, info, at, partitions, indexes, deadline, &offsets);
      if (!status.ok()) break;
    }
    if (status.ok()) return offsets;
    const Nanos resume = Now() + kRetryPause;
    if (!IsRetriable(status) || resume >= deadline) {
      return Annotate(status, absl::StrCat("list offsets of topic '", topic, "'"));
    }
    metadata_->Forget(topic);
    RunUntil(resume, [] { return false; });
  }
}

absl::StatusOr<std::unique_ptr<Producer>> Client::NewProducer(ProducerOptions options) {
  return Producer::Make(this, std::move(options));
}

std::unique_ptr<Consumer> Client::NewConsumer(ConsumerOptions options) {
  return std::make_unique<Consumer>(this, std::move(options));
}

}  // namespace ringtail::client
