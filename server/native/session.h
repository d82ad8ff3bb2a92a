// The native protocol (proto/client.proto) on one connection: takes frames apart, asks the broker,
// puts replies together. Payloads are never copied: produced batches are appended from the frame
// they came in, fetched ones leave as ranges of segment files.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "proto/client.pb.h"
#include "server/broker.h"
#include "server/connection.h"
#include "server/endpoints.h"
#include "server/group/consumer_types.h"
#include "server/group/group_types.h"

namespace ringtail::native {

inline constexpr uint32_t kProtoMin = 1;
inline constexpr uint32_t kProtoMax = 1;
inline constexpr size_t kHeaderBytesMax = 1 << 20;
inline constexpr size_t kPayloadBytesMax = 100 << 20;
inline constexpr size_t kRequestEntriesMax = 20'000;  // topics and partitions of one request

struct SessionOptions {
  std::string software_version;
  uint32_t exchanges_max = 0;  // what Hello tells of the connection's limits
  uint64_t connection_bytes_max = 0;
};

class Session : public server::Session {
 public:
  // All outlive the session.
  Session(server::Broker& broker, const server::Endpoints& endpoints,
          const SessionOptions& options);
  ~Session() override;

  size_t prefix_bytes() const override { return 8; }
  absl::StatusOr<size_t> FrameBytes(base::ByteView prefix) const override;
  task::Task<void> Handle(server::Exchange* exchange) override;
  bool FillTimedOut(server::Exchange* exchange, server::Reply* reply) override;
  bool FillRefused(const absl::Status& why, server::Reply* reply) override;
  absl::string_view client_id() const override { return client_id_; }
  size_t spare_bytes() const { return spare_bytes_; }  // kept for the next requests

 private:
  struct Scratch;  // one request's messages and items, reused

  std::unique_ptr<Scratch> TakeScratch();
  void Keep(std::unique_ptr<Scratch> scratch);
  void RefuseEntries(size_t entries, server::Exchange* exchange,
                     proto::client::ResponseHeader* response);
  // False: it names more than a request may, and is refused.
  bool Admit(server::Exchange* exchange, Scratch* scratch);
  task::Task<void> Dispatch(server::Exchange* exchange, base::MutableByteView payload,
                            Scratch* scratch);
  void HandleHello(const proto::client::HelloRequest& request, server::Exchange* exchange,
                   proto::client::ResponseHeader* response);
  task::Task<void> HandleProduce(server::Exchange* exchange, base::MutableByteView payload,
                                 Scratch* scratch);
  task::Task<void> HandleFetch(server::Exchange* exchange, Scratch* scratch);
  task::Task<void> HandleListOffsets(Scratch* scratch);
  task::Task<void> HandleInitProducer(Scratch* scratch);
  task::Task<void> HandleCreateTopic(Scratch* scratch);
  task::Task<void> HandleAlterTopic(Scratch* scratch);
  task::Task<void> HandleDeleteTopic(Scratch* scratch);
  task::Task<void> HandleDeleteRecords(server::Exchange* exchange, Scratch* scratch);
  task::Task<void> HandleDescribeTopic(server::Exchange* exchange, Scratch* scratch);
  task::Task<void> HandleListGroups(server::Exchange* exchange, Scratch* scratch);
  task::Task<void> HandleDescribeGroup(server::Exchange* exchange, Scratch* scratch);
  void FillClassic(const group::DescribedGroup& found,
                   proto::client::DescribeGroupResponse* response) const;
  void FillConsumer(const group::DescribedConsumerGroup& found,
                    proto::client::DescribeGroupResponse* response) const;
  task::Task<void> FillEnds(proto::client::DescribeGroupResponse* described);
  task::Task<void> HandleCommitOffsets(server::Exchange* exchange, Scratch* scratch);
  task::Task<void> HandleDeleteGroup(Scratch* scratch);
  void HandleDescribeBroker(Scratch* scratch);
  task::Task<void> HandleAlterBroker(Scratch* scratch);
  void HandleMetadata(Scratch* scratch);
  void FillTopic(const server::TopicImage& topic, proto::client::TopicMetadata* out) const;
  void FillPartition(const server::TopicImage& topic, uint32_t index,
                     proto::client::PartitionMetadata* out) const;

  // Exactly one of name and id. kNone and a topic of the current image, or the error.
  base::Error FindTopic(absl::string_view name, absl::string_view id,
                        const server::TopicImage** topic) const;
  base::Error Resolve(absl::string_view name, absl::string_view id, uint32_t partition,
                      partition::PartitionId* out) const;

  void Encode(const proto::client::ResponseHeader& response, size_t payload_bytes,
              server::Reply* reply) const;
  void Refuse(base::Error error, const std::string& message, server::Exchange* exchange,
              proto::client::ResponseHeader* response);

  server::Broker& broker_;
  const server::Endpoints& endpoints_;
  const SessionOptions& options_;
  bool greeted_ = false;
  std::string client_id_;
  std::vector<std::unique_ptr<Scratch>> spare_;
  size_t spare_bytes_ = 0;
};

}  // namespace ringtail::native
