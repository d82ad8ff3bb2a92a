#include "perf/lib/native.h"

#include <endian.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "engine/records/record_batch_builder.h"
#include "perf/lib/check.h"

namespace ringtail::perf {
namespace {

constexpr size_t kPrefixBytes = 8;
constexpr uint32_t kHeaderBytesMax = 1 << 20;
constexpr uint32_t kTopicPartitions = 16;  // enough that each core owns some

uint32_t LoadLength(const char* data) {
  uint32_t length;
  std::memcpy(&length, data, sizeof(length));
  return le32toh(length);
}

std::string EncodeFrame(const proto::client::RequestHeader& request, const std::string& payload) {
  const std::string header = request.SerializeAsString();
  const uint32_t lengths[2] = {htole32(static_cast<uint32_t>(header.size())),
                               htole32(static_cast<uint32_t>(payload.size()))};
  return std::string(reinterpret_cast<const char*>(lengths), kPrefixBytes) + header + payload;
}

void RequireOk(const proto::client::Error& error) {
  Require(error.code() == proto::client::Error::OK,
          "the broker answered " + proto::client::Error::Code_Name(error.code()) + ": " +
              error.message());
}

void ParseReply(const char* header, size_t size, proto::client::ResponseHeader& reply) {
  Require(reply.ParseFromArray(header, static_cast<int>(size)), "a reply that does not parse");
  if (reply.has_error()) RequireOk(reply.error());
}

records::RecordInput RecordOf(const std::string& value, const std::string& key) {
  records::RecordInput record;
  if (!key.empty()) record.key = base::AsBytes(key);
  record.value = base::ByteView(reinterpret_cast<const uint8_t*>(value.data()), value.size());
  record.timestamp_ms = 1'700'000'000'000;
  return record;
}

EncodedBatch Encode(const std::vector<std::string>& values, const std::string& key = "") {
  records::BuilderOptions options;
  options.batch_bytes_max = 64 << 20;
  records::RecordBatchBuilder builder(options);
  for (const std::string& value : values) {
    Require(builder.Append(RecordOf(value, key)) == records::AppendResult::kAppended,
            "a record does not fit its batch");
  }
  const auto batch = builder.Finish();
  Require(batch.ok(), "the batch builder failed");
  return {std::string(reinterpret_cast<const char*>(batch->data()), batch->size()),
          static_cast<int64_t>(values.size())};
}

}  // namespace

NativeConnection::NativeConnection(uint16_t port) : fd_(ConnectLoopback(port)) {
  proto::client::RequestHeader request;
  auto* hello = request.mutable_hello();
  hello->set_proto_min(1);
  hello->set_proto_max(1);
  hello->set_client_id("perf");
  Call(request);
}

proto::client::ResponseHeader NativeConnection::Call(const proto::client::RequestHeader& request) {
  const std::string frame = EncodeFrame(request, "");
  SendAll(fd_.get(), frame.data(), frame.size());
  char prefix[kPrefixBytes];
  Require(ReceiveAll(fd_.get(), prefix, sizeof(prefix)), "the broker closed the connection");
  const uint32_t header_bytes = LoadLength(prefix);
  Require(header_bytes <= kHeaderBytesMax && LoadLength(prefix + 4) == 0, "an unexpected frame");
  std::string header(header_bytes, '\0');
  Require(header.empty() || ReceiveAll(fd_.get(), header.data(), header.size()), "a cut frame");
  proto::client::ResponseHeader reply;
  ParseReply(header.data(), header.size(), reply);
  return reply;
}

PartitionAddress CreateTopicOnCore(uint16_t port, const std::string& name, uint32_t core,
                                   const std::map<std::string, std::string>& configs) {
  NativeConnection connection(port);
  proto::client::RequestHeader request;
  request.mutable_create_topic()->set_name(name);
  request.mutable_create_topic()->set_partitions(kTopicPartitions);
  for (const auto& [key, value] : configs) {
    auto* config = request.mutable_create_topic()->add_configs();
    config->set_name(key);
    config->set_value(value);
  }
  connection.Call(request);

  request.mutable_metadata()->add_topics(name);
  const auto reply = connection.Call(request);
  Require(reply.metadata().topics_size() == 1, "metadata without the topic");
  const auto& topic = reply.metadata().topics(0);
  RequireOk(topic.error());
  for (const auto& node : reply.metadata().nodes()) {
    if (node.core() != core) continue;
    for (const auto& partition : topic.partitions()) {
      if (partition.leader_node() != node.node_id()) continue;
      return {topic.topic_id(), partition.partition(), static_cast<uint16_t>(node.port())};
    }
  }
  throw std::runtime_error("no partition of the topic is on core " + std::to_string(core));
}

EncodedBatch MakeSingleRecord(int64_t value_bytes, const std::string& key) {
  return Encode({std::string(static_cast<size_t>(value_bytes), 'v')}, key);
}

EncodedBatch MakeBatch(int64_t batch_bytes, int64_t value_bytes) {
  const auto value_size = static_cast<size_t>(value_bytes);
  const auto wanted = static_cast<size_t>(batch_bytes);
  const size_t headroom = 61 + 20;  // the batch's header, and what one record adds to its value
  std::vector<std::string> values;
  const size_t record_bytes = value_size + 10;
  Require(wanted > headroom + 2 * record_bytes, "a batch too small for its records");
  values.assign((wanted - headroom) / record_bytes, std::string(value_size, 'v'));
  // A longer value can add a byte of length, so the size is reached in a few steps.
  for (int step = 0; step < 8; ++step) {
    const EncodedBatch batch = Encode(values);
    if (batch.bytes.size() == wanted) return batch;
    const auto difference = static_cast<int64_t>(wanted) - static_cast<int64_t>(batch.bytes.size());
    values.back().resize(
        static_cast<size_t>(static_cast<int64_t>(values.back().size()) + difference), 'v');
  }
  throw std::runtime_error("no batch comes out at exactly the size asked for");
}

ProduceWire::ProduceWire(const PartitionAddress& partition, const EncodedBatch& batch) {
  proto::client::RequestHeader request;
  request.set_correlation_id(1);
  auto* slice = request.mutable_produce()->add_partitions();
  slice->set_topic_id(partition.topic_id);
  slice->set_partition(partition.partition);
  slice->set_payload_bytes(static_cast<uint32_t>(batch.bytes.size()));
  frame_ = EncodeFrame(request, batch.bytes);
}

size_t ProduceWire::ReplySize(Bytes received) {
  if (received.size < kPrefixBytes) return 0;
  const uint32_t header_bytes = LoadLength(received.data);
  Require(header_bytes <= kHeaderBytesMax && LoadLength(received.data + 4) == 0,
          "an unexpected frame in reply to a produce");
  if (received.size < kPrefixBytes + header_bytes) return 0;
  ParseReply(received.data + kPrefixBytes, header_bytes, reply_);
  Require(reply_.produce().partitions_size() == 1, "a produce reply without its partition");
  if (reply_.produce().partitions(0).has_error()) RequireOk(reply_.produce().partitions(0).error());
  return kPrefixBytes + header_bytes;
}

FetchStream::FetchStream(int fd, const PartitionAddress& partition, const EncodedBatch& batch,
                         int64_t batches, int64_t chunk_bytes, const DrainOptions& drain)
    : fd_(fd), chunk_bytes_(chunk_bytes), buffer_(static_cast<size_t>(drain.buffer_bytes)) {
  const auto batch_bytes = static_cast<int64_t>(batch.bytes.size());
  Require(chunk_bytes % batch_bytes == 0, "a chunk must be a whole number of batches");
  const int64_t batches_per_chunk = chunk_bytes / batch_bytes;
  for (int64_t first = 0; first + batches_per_chunk <= batches; first += batches_per_chunk) {
    proto::client::RequestHeader request;
    request.set_correlation_id(1);
    request.mutable_fetch()->set_max_bytes(static_cast<uint32_t>(chunk_bytes));
    auto* slice = request.mutable_fetch()->add_partitions();
    slice->set_topic_id(partition.topic_id);
    slice->set_partition(partition.partition);
    slice->set_offset(first * batch.records);
    frames_.push_back(EncodeFrame(request, ""));
  }
  Require(!frames_.empty(), "the partition is smaller than a chunk");
}

void FetchStream::Start(int window) {
  for (int i = 0; i < window; ++i) SendRequest();
}

void FetchStream::SendRequest() {
  SendAll(fd_, frames_[next_frame_].data(), frames_[next_frame_].size());
  next_frame_ = (next_frame_ + 1) % frames_.size();
}

bool FetchStream::TakeHeader() {
  const char* frame = buffer_.data() + taken_;
  const size_t size = filled_ - taken_;
  if (size < kPrefixBytes) return false;
  const uint32_t header_bytes = LoadLength(frame);
  Require(header_bytes <= kHeaderBytesMax, "an unexpected frame in reply to a fetch");
  if (size < kPrefixBytes + header_bytes) return false;
  ParseReply(frame + kPrefixBytes, header_bytes, reply_);
  Require(reply_.fetch().partitions_size() == 1, "a fetch reply without its partition");
  if (reply_.fetch().partitions(0).has_error()) RequireOk(reply_.fetch().partitions(0).error());
  payload_left_ = LoadLength(frame + 4);
  // At a segment's end a slice may be shorter; an empty one would measure nothing.
  Require(payload_left_ > 0 && payload_left_ <= chunk_bytes_,
          "a fetch of " + std::to_string(chunk_bytes_) + " bytes yielded " +
              std::to_string(payload_left_));
  taken_ += kPrefixBytes + header_bytes;
  return true;
}

int64_t FetchStream::Step() {
  const ssize_t received = recv(fd_, buffer_.data() + filled_, buffer_.size() - filled_, 0);
  Require(CheckCall(received, "recv") > 0, "the broker closed the connection");
  filled_ += static_cast<size_t>(received);
  int64_t payload_bytes = 0;
  while (true) {
    if (payload_left_ == 0 && !TakeHeader()) break;
    const int64_t part = std::min(payload_left_, static_cast<int64_t>(filled_ - taken_));
    taken_ += static_cast<size_t>(part);
    payload_left_ -= part;
    payload_bytes += part;
    if (payload_left_ > 0) break;
    SendRequest();
  }
  std::memmove(buffer_.data(), buffer_.data() + taken_, filled_ - taken_);
  filled_ -= taken_;
  taken_ = 0;
  return payload_bytes;
}

}  // namespace ringtail::perf
