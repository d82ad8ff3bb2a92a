// Ringtail's C++ client: topics, and the way to producers and consumers.
//
// The client has no thread of its own. Every call does the network's work that it waits for, and
// Producer::Poll, Consumer::Poll and Client::Poll do what has come up. So there are no locks and no
// hand-overs between threads on the way of a record; a Client with its producers and consumers is
// used by one thread at a time, and an application with many threads has one Client in each. To
// wait for a client inside another event loop, watch fd() and call Poll at NextWake() at the
// latest.
//
// Every call has a deadline. Errors are absl::Status; error.h tells the broker's own code and
// whether trying again may help.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "tools/client/address.h"
#include "tools/client/connection.h"
#include "tools/client/error.h"
#include "tools/client/metadata.h"
#include "tools/client/router.h"

namespace ringtail::client {

inline constexpr uint16_t kDefaultPort = 7092;

class Consumer;
class Producer;
struct ConsumerOptions;
struct ProducerOptions;

struct ClientOptions {
  // Of native listeners; any broker of the cluster will do. "host:port", comma separated.
  std::string bootstrap = "127.0.0.1:7092";
  std::string client_id = "ringtail";
  absl::Duration connect_timeout = absl::Seconds(5);
  // Of a call that isn't told another, and of a request until it counts as lost.
  absl::Duration request_timeout = absl::Seconds(30);
  // How long a wait spins before it sleeps. Buys some microseconds of latency with CPU time.
  absl::Duration busy_poll = absl::ZeroDuration();
};

struct CreateTopicOptions {
  uint32_t partitions = 0;  // 0: the broker's default
  std::vector<std::pair<std::string, std::string>> configs;
};

// All of it or nothing.
struct AlterTopicOptions {
  std::vector<std::pair<std::string, std::string>> set;
  std::vector<std::string> reset;  // configs that go back to their default
  uint32_t partitions = 0;         // more than now; 0: as many
  bool validate_only = false;
};

struct PartitionDescription {
  int32_t leader_node = -1;
  int32_t leader_epoch = -1;
  absl::Status status;  // why it isn't served, if it isn't
  int64_t log_start_offset = 0;
  int64_t high_watermark = 0;
  int64_t log_end_offset = 0;
  uint64_t log_bytes = 0;
  uint32_t segments = 0;
};

struct ConfigValue {
  std::string name;
  std::string value;
  bool is_default = false;
};

struct BrokerConfig {
  std::string name;  // of the flag
  std::string value;
  std::string default_value;
  std::string start_value;  // what a flag or the file said; empty: nothing
  std::string source;       // "default", "start", "set" (while the broker ran)
  bool live = false;        // may be set while the broker runs
  std::string help;
};

// All of it or nothing.
struct AlterBrokerOptions {
  std::vector<std::pair<std::string, std::string>> set;
  std::vector<std::string> reset;
  bool validate_only = false;
};

struct TopicDescription {
  std::string name;
  base::Uuid id;
  std::vector<PartitionDescription> partitions;
  std::vector<ConfigValue> configs;
};

struct ClusterDescription {
  std::string cluster_id;
  std::vector<NodeInfo> nodes;    // by id
  std::vector<TopicInfo> topics;  // by name
};

struct GroupListing {
  std::string group;
  std::string protocol_type;  // "consumer"; empty: there never were members
  std::string state;
  std::string type;  // "classic", "consumer"
};

struct GroupMember {
  std::string member_id;
  std::string instance_id;  // of a static member
  std::string client_id;
  std::string client_host;
  std::vector<std::pair<std::string, int32_t>> partitions;  // assigned: topic and partition
  // Of a consumer group.
  int32_t epoch = 0;         // -2: a static member that is away
  std::string state;         // STABLE, UNREVOKED_PARTITIONS, UNRELEASED_PARTITIONS
  uint32_t target_size = 0;  // partitions that it is to have
  bool classic = false;      // speaks the classic protocol
};

struct GroupOffset {
  std::string topic;
  int32_t partition = 0;
  int64_t committed = 0;
  int64_t high_watermark = -1;  // -1: not known
};

struct GroupDescription {
  std::string group;
  std::string protocol_type;
  std::string protocol;
  std::string state;
  std::string type;           // "classic", "consumer"
  uint32_t epoch = 0;         // of a consumer group
  uint32_t target_epoch = 0;  // of its assignment
  std::vector<GroupMember> members;
  std::vector<GroupOffset> offsets;  // by topic and partition
};

// Where in a partition: its beginning, its end (the high watermark), a given offset, or the first
// record at or after a time.
struct StartAt {
  enum class Kind { kBeginning, kEnd, kOffset, kTimestamp };
  Kind kind = Kind::kBeginning;
  int64_t value = 0;  // the offset, or ms since 1970

  static StartAt Beginning() { return {Kind::kBeginning, 0}; }
  static StartAt End() { return {Kind::kEnd, 0}; }
  static StartAt Offset(int64_t offset) { return {Kind::kOffset, offset}; }
  static StartAt Timestamp(int64_t ms) { return {Kind::kTimestamp, ms}; }
};

class Client {
 public:
  // Connects to the first bootstrap address that answers. Later losses are mended by themselves.
  static absl::StatusOr<std::unique_ptr<Client>> Connect(ClientOptions options);
  ~Client();

  // kAlreadyExists, kInvalidArgument (name, partitions, config), kDeadlineExceeded. When the
  // connection is lost meanwhile the topic may or may not have been created: kUnavailable.
  absl::StatusOr<base::Uuid> CreateTopic(absl::string_view name, const CreateTopicOptions& options);
  // How many partitions the topic has then. Producers and consumers learn of new ones when they ask
  // for metadata next. kInvalidArgument: it was not changed; kUnavailable: it may have been.
  absl::StatusOr<uint32_t> AlterTopic(absl::string_view name, const AlterTopicOptions& options);
  absl::Status DeleteTopic(absl::string_view name);
  // Deletes what lies below `before`, for good; -1: all that consumers can read. Where each of the
  // partitions starts then, in order. After an error some of them may have been cut.
  absl::StatusOr<std::vector<int64_t>> DeleteRecords(absl::string_view topic,
                                                     const std::vector<int32_t>& partitions,
                                                     int64_t before);
  absl::StatusOr<TopicDescription> DescribeTopic(absl::string_view name);
  // All nodes and topics.
  absl::StatusOr<ClusterDescription> DescribeCluster();
  // Number of partitions; kNotFound.
  absl::StatusOr<int32_t> PartitionCount(absl::string_view topic);
  // An offset for each partition asked for, in order. -1 for a timestamp after the last record.
  absl::StatusOr<std::vector<int64_t>> ListOffsets(absl::string_view topic,
                                                   const std::vector<int32_t>& partitions,
                                                   StartAt at);

  // The broker's own configuration, by name.
  absl::StatusOr<std::vector<BrokerConfig>> DescribeBroker();
  // Holds on all of its cores then. kInvalidArgument: nothing was changed; kUnavailable: it may be.
  absl::Status AlterBroker(const AlterBrokerOptions& options);

  // Consumer groups, which Kafka's clients form.
  absl::StatusOr<std::vector<GroupListing>> ListGroups();  // by name
  absl::StatusOr<GroupDescription> DescribeGroup(absl::string_view group);
  // All or none, of a group without members; one that does not exist is made.
  absl::Status CommitOffsets(absl::string_view group, const std::vector<GroupOffset>& offsets);
  absl::Status DeleteGroup(absl::string_view group);

  // Destroyed before the client.
  absl::StatusOr<std::unique_ptr<Producer>> NewProducer(ProducerOptions options);
  std::unique_ptr<Consumer> NewConsumer(ConsumerOptions options);

  // Does what has come up on the network, and waits for something to come up if nothing has.
  void Poll(absl::Duration wait);
  // Readable when Poll has something to do.
  int fd() const { return loop_.fd(); }
  // When Poll has something to do even if fd() isn't readable.
  absl::Duration NextWake() const;

  // The rest is for Producer and Consumer.

  const ClientOptions& options() const { return options_; }
  const wire::HelloResponse& hello() { return admin_->bootstrap()->hello(); }
  EventLoop* loop() { return &loop_; }
  BufferPool* pool() { return &pool_; }
  Metadata* metadata() { return metadata_.get(); }
  Nanos request_timeout() const { return request_timeout_; }
  std::unique_ptr<Router> NewRouter();
  // Turns the loop until `done` or the deadline; whether it is done.
  bool RunUntil(Nanos deadline, const std::function<bool()>& done);
  void Turn(Nanos until);
  // The topic's metadata, asked for if unknown. kNotFound names the way to create it.
  absl::StatusOr<const TopicInfo*> FindTopic(absl::string_view topic, Nanos deadline);

 private:
  enum class Repeat { kIfRetriable, kNever };

  explicit Client(ClientOptions options, std::vector<Address> bootstrap);
  absl::Status ConnectFirst();
  absl::Status AwaitReady(Connection* connection, Nanos deadline);
  // Sends to `connection` and waits. The reply's header is copied to `response`.
  absl::Status Call(Connection* connection, wire::RequestHeader* request,
                    wire::ResponseHeader* response, Nanos deadline);
  absl::Status CallBootstrap(wire::RequestHeader* request, wire::ResponseHeader* response,
                             Repeat repeat);
  absl::Status ListOffsetsAt(int32_t node, const TopicInfo& topic, StartAt at,
                             const std::vector<int32_t>& partitions,
                             const std::vector<size_t>& indexes, Nanos deadline,
                             std::vector<int64_t>* offsets);

  const ClientOptions options_;
  const std::vector<Address> bootstrap_;
  const Nanos request_timeout_;
  const Nanos busy_poll_;
  ConnectionOptions connection_options_;
  EventLoop loop_;
  BufferPool pool_;
  std::unique_ptr<Router> admin_;
  std::unique_ptr<Metadata> metadata_;
};

}  // namespace ringtail::client
