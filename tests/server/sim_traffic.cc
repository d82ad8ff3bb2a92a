#include "tests/server/sim_traffic.h"

#include <arpa/inet.h>

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/endian.h"
#include "engine/io/run_until.h"
#include "engine/records/record_batch_builder.h"
#include "engine/records/record_reader.h"
#include "proto/client.pb.h"

namespace ringtail::server {
namespace {

using proto::client::Error;
using proto::client::RequestHeader;
using proto::client::ResponseHeader;

constexpr base::Nanos kPatience = 2 * base::kNanosPerSecond;

struct Reply {
  ResponseHeader header;
  std::string payload;
};

// One connection; every failure closes it.
class Link {
 public:
  Link(sim::SimNode& node, Traffic& traffic) : node_(node), traffic_(traffic) {}
  ~Link() {
    if (fd_ >= 0 && node_.io().process().alive()) node_.io().CloseInline(fd_);
  }

  task::Task<bool> Ready() {
    if (fd_ >= 0) co_return true;
    if (traffic_.port == 0) co_return false;
    fd_ = *node_.io().StreamSocket(false);
    sockaddr_storage storage = {};
    auto* address = reinterpret_cast<sockaddr_in*>(&storage);
    address->sin_family = AF_INET;
    address->sin_port = htons(traffic_.port);
    inet_pton(AF_INET, "127.0.0.1", &address->sin_addr);
    io::Op connect{.code = io::OpCode::kConnect, .fd = fd_};
    connect.address = &storage;
    connect.address_length = sizeof(sockaddr_in);
    if (co_await io::RunUntil(node_.io(), &connect, Deadline()) != 0) co_return Fail();
    RequestHeader hello;
    hello.mutable_hello()->set_proto_min(1);
    hello.mutable_hello()->set_proto_max(1);
    const auto reply = co_await Ask(hello, "");
    co_return reply.has_value();
  }
  task::Task<std::optional<Reply>> Ask(RequestHeader request, std::string payload) {
    request.set_correlation_id(++correlation_id_);
    const std::string header = request.SerializeAsString();
    std::string frame(8, '\0');
    auto* at = reinterpret_cast<uint8_t*>(frame.data());
    base::StoreLe<uint32_t>(at, static_cast<uint32_t>(header.size()));
    base::StoreLe<uint32_t>(at + 4, static_cast<uint32_t>(payload.size()));
    frame += header + payload;
    iovec out{frame.data(), frame.size()};
    io::Op send{.code = io::OpCode::kSend,
                .flags = io::kWaitAll,
                .fd = fd_,
                .vectors = &out,
                .vector_count = 1};
    const int32_t sent = co_await io::RunUntil(node_.io(), &send, Deadline());
    std::string prefix(8, '\0');
    if (sent != static_cast<int32_t>(frame.size()) || !co_await Receive(&prefix)) {
      Fail();
      co_return std::nullopt;
    }
    at = reinterpret_cast<uint8_t*>(prefix.data());
    std::string answer(base::LoadLe<uint32_t>(at), '\0');
    Reply reply{.header = {}, .payload = std::string(base::LoadLe<uint32_t>(at + 4), '\0')};
    if (!co_await Receive(&answer) || !co_await Receive(&reply.payload)) {
      Fail();
      co_return std::nullopt;
    }
    if (!reply.header.ParseFromString(answer) || reply.header.correlation_id() != correlation_id_) {
      traffic_.failure =
          absl::StrCat("not the reply of its request: ", reply.header.ShortDebugString());
    }
    co_return reply;
  }
  bool Fail() {
    if (fd_ >= 0) node_.io().CloseInline(std::exchange(fd_, -1));
    return false;
  }

 private:
  base::Nanos Deadline() { return node_.world().now() + kPatience; }
  task::Task<bool> Receive(std::string* into) {
    if (into->empty()) co_return true;
    iovec in{into->data(), into->size()};
    io::Op receive{.code = io::OpCode::kReceive,
                   .flags = io::kWaitAll,
                   .fd = fd_,
                   .vectors = &in,
                   .vector_count = 1};
    co_return co_await io::RunUntil(node_.io(), &receive, Deadline()) ==
        static_cast<int32_t>(into->size());
  }

  sim::SimNode& node_;
  Traffic& traffic_;
  int fd_ = -1;
  uint64_t correlation_id_ = 0;
};

std::string MakeNumbered(int index, int64_t first, int count, int64_t producer_id, size_t padding) {
  records::RecordBatchBuilder builder({.producer_id = producer_id,
                                       .producer_epoch = 0,
                                       .base_sequence = static_cast<int32_t>(first)});
  for (int i = 0; i < count; ++i) {
    const std::string value = absl::StrCat(index, ":", first + i, ":", std::string(padding, 'x'));
    RT_CHECK(builder.Append({.value = base::AsBytes(value), .timestamp_ms = 1000}) ==
             records::AppendResult::kAppended);
  }
  const std::vector<uint8_t> batch = *builder.Finish();
  return std::string(batch.begin(), batch.end());
}

task::Task<void> Pause(sim::SimNode* node, base::Nanos duration) {
  co_await node->scheduler().SleepUntil(node->world().now() + duration);
}

}  // namespace

bool DecodeValues(const std::string& batches, int64_t* next_offset,
                  std::vector<std::string>* values) {
  records::RecordReader reader;
  log::BatchWalker walker(base::AsBytes(batches));
  while (walker.Next()) {
    if (walker.batch().ComputeCrc() != walker.batch().crc()) return false;
    if (!reader.Open(walker.batch()).ok()) return false;
    while (reader.Next()) {
      if (reader.record().offset.value() < *next_offset) continue;
      if (reader.record().offset.value() != *next_offset) return false;
      ++*next_offset;
      const std::string value(base::AsText(*reader.record().value()));
      values->push_back(value.substr(0, value.find(':', value.find(':') + 1)));
    }
    if (!reader.status().ok()) return false;
  }
  return walker.error() == log::BatchError::kNone;
}

task::Task<void> RunProducer(sim::SimNode* node, std::shared_ptr<Traffic> traffic,
                             std::string topic, int index) {
  Traffic::Producer& self = *traffic->producers[static_cast<size_t>(index)];
  ++traffic->running;
  Link link(*node, *traffic);
  int64_t producer_id = -1;
  std::string batch;
  int count = 0;
  while (!traffic->stop || !batch.empty()) {
    if (!co_await link.Ready()) {
      co_await Pause(node, base::kNanosPerMilli);
      continue;
    }
    if (producer_id < 0) {
      RequestHeader request;
      request.mutable_init_producer();
      const auto reply = co_await link.Ask(request, "");
      if (reply.has_value() && !reply->header.has_error()) {
        producer_id = reply->header.init_producer().producer_id();
      }
      continue;
    }
    if (batch.empty()) {
      count = static_cast<int>(node->world().rng().Between(1, 5));
      batch = MakeNumbered(index, self.acknowledged, count, producer_id,
                           node->world().rng().Below(300));
    }
    RequestHeader request;
    auto* slice = request.mutable_produce()->add_partitions();
    slice->set_topic(topic);
    slice->set_partition(static_cast<uint32_t>(self.partition));
    slice->set_payload_bytes(static_cast<uint32_t>(batch.size()));
    const auto reply = co_await link.Ask(request, batch);
    ++self.retries;
    if (!reply.has_value()) continue;
    Error error = reply->header.error();
    if (!reply->header.has_error() && reply->header.produce().partitions_size() == 1) {
      error = reply->header.produce().partitions(0).error();
    }
    if (error.code() != Error::OK) {
      if (!error.retriable()) traffic->failure = "produce: " + error.ShortDebugString();
      co_await Pause(node, base::kNanosPerMilli);
      continue;
    }
    --self.retries;
    self.acknowledged += count;
    batch.clear();
    co_await Pause(node, static_cast<base::Nanos>(node->world().rng().Below(300'000)));
  }
  --traffic->running;
}

task::Task<void> RunConsumer(sim::SimNode* node, std::shared_ptr<Traffic> traffic,
                             std::string topic, int partition) {
  ++traffic->running;
  Link link(*node, *traffic);
  int64_t next_offset = 0;
  while (!traffic->stop) {
    if (!co_await link.Ready()) {
      co_await Pause(node, base::kNanosPerMilli);
      continue;
    }
    RequestHeader request;
    request.mutable_fetch()->set_max_bytes(
        static_cast<uint32_t>(node->world().rng().Between(1, 20'000)));
    request.mutable_fetch()->set_min_bytes(1);
    request.mutable_fetch()->set_max_wait_ms(100);
    auto* wanted = request.mutable_fetch()->add_partitions();
    wanted->set_topic(topic);
    wanted->set_partition(static_cast<uint32_t>(partition));
    wanted->set_offset(next_offset);
    const auto reply = co_await link.Ask(request, "");
    if (!reply.has_value()) continue;
    Error error = reply->header.error();
    if (!reply->header.has_error() && reply->header.fetch().partitions_size() == 1) {
      error = reply->header.fetch().partitions(0).error();
    }
    if (error.code() != Error::OK) {
      // An offset that was read before can't be out of range: that would be a loss.
      if (!error.retriable()) traffic->failure = "fetch: " + error.ShortDebugString();
      co_await Pause(node, base::kNanosPerMilli);
      continue;
    }
    if (!DecodeValues(reply->payload, &next_offset,
                      &traffic->consumed[static_cast<size_t>(partition)])) {
      traffic->failure = absl::StrCat("a fetched slice does not decode at ", next_offset);
    }
  }
  --traffic->running;
}

}  // namespace ringtail::server
