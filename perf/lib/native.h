// The native protocol (proto/client.proto) at the least cost to the client: requests are encoded
// before the measurement, replies are checked and dropped. For load, not for use: tools/client is
// the client library.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "perf/lib/drain.h"
#include "perf/lib/load.h"
#include "perf/lib/os.h"
#include "proto/client.pb.h"

namespace ringtail::perf {

// A blocking connection on which Hello has been said.
class NativeConnection {
 public:
  explicit NativeConnection(uint16_t port);

  int fd() const { return fd_.get(); }

  // Sends a request without payload and waits for its reply. Throws the broker's error.
  proto::client::ResponseHeader Call(const proto::client::RequestHeader& request);

 private:
  Fd fd_;
};

// A partition, and where the core that owns it listens.
struct PartitionAddress {
  std::string topic_id;
  uint32_t partition = 0;
  uint16_t port = 0;
};

// Makes a topic and returns a partition of it that a core of the broker owns. `configs`: names of
// topic settings and their values.
PartitionAddress CreateTopicOnCore(uint16_t port, const std::string& name, uint32_t core,
                                   const std::map<std::string, std::string>& configs = {});
inline PartitionAddress CreateTopicOnCore0(uint16_t port, const std::string& name,
                                           const std::map<std::string, std::string>& configs = {}) {
  return CreateTopicOnCore(port, name, 0, configs);
}

// An uncompressed RecordBatch v2 of exactly `batch_bytes`: records with values of about
// `value_bytes`, the last one longer so that it comes out even.
struct EncodedBatch {
  std::string bytes;
  int64_t records = 0;
};
EncodedBatch MakeBatch(int64_t batch_bytes, int64_t value_bytes);

// One record with a value of `value_bytes`, and a key unless that is empty.
EncodedBatch MakeSingleRecord(int64_t value_bytes, const std::string& key = "");

// Produces the same batch again and again, acks=all.
class ProduceWire : public Wire {
 public:
  ProduceWire(const PartitionAddress& partition, const EncodedBatch& batch);

  Bytes NextRequest() override { return {frame_.data(), frame_.size()}; }
  size_t ReplySize(Bytes received) override;

 private:
  std::string frame_;
  proto::client::ResponseHeader reply_;
};

// Fetches a partition round and round, `chunk_bytes` a request, with a window of requests
// outstanding. Offsets are known without looking at the replies, because all batches are alike.
class FetchStream {
 public:
  FetchStream(int fd, const PartitionAddress& partition, const EncodedBatch& batch, int64_t batches,
              int64_t chunk_bytes, const DrainOptions& drain);

  void Start(int window);

  // Receives what has come, and asks for a further chunk for each that is complete. Returns the
  // payload bytes received.
  int64_t Step();

 private:
  void SendRequest();
  // Takes a reply's header from the start of the unread bytes; false where it is not all there yet.
  bool TakeHeader();

  int fd_;
  std::vector<std::string> frames_;  // one for each chunk of the partition
  size_t next_frame_ = 0;
  int64_t chunk_bytes_;
  Buffer buffer_;
  size_t filled_ = 0;
  size_t taken_ = 0;
  int64_t payload_left_ = 0;
  proto::client::ResponseHeader reply_;
};

}  // namespace ringtail::perf
