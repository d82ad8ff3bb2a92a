// Sends records in batches, in order for each partition, and says what became of them.
//
// A record goes out at once when nothing of its partition is on the way; what is sent meanwhile
// joins the next batch, so batches grow with the load and nobody waits for a timer. Batches of
// several partitions on one core share a request.
//
// Failures that may pass (broker gone, leader moved, overload) are tried again until the delivery
// timeout, in order; with idempotence (the default) a record that was acknowledged late or twice
// sent is in the log once. Without it one batch of a partition is on the way at a time.
//
// Life: made by Client::NewProducer, destroyed before the client; what wasn't flushed is dropped.
// Same thread as the client. Replies are handled, and on_delivery is called, inside Send, Flush,
// Produce and Poll; it may call Send.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "engine/records/record_batch_builder.h"
#include "tools/client/client.h"

namespace ringtail::client {

enum class Acks { kAll, kLeader, kNone };

struct Header {
  absl::string_view key;
  std::optional<absl::string_view> value;
};

// Views that live until Send returns.
struct ProducerRecord {
  absl::string_view topic;
  int32_t partition = -1;  // -1: by the key's hash (as Kafka's clients do), or any if there is none
  std::optional<absl::string_view> key;
  std::optional<absl::string_view> value;  // nullopt: a tombstone, in compacted topics
  std::span<const Header> headers;
  int64_t timestamp_ms = -1;  // -1: now
};

// What became of some records of a partition, in the order they were sent.
struct Delivery {
  absl::string_view topic;
  int32_t partition = 0;
  uint64_t first = 0;  // what Send returned for the first of them; the others follow
  uint32_t count = 0;
  int64_t base_offset =
      -1;  // of the first; -1: unknown (acks none, failed, or acknowledged before)
  absl::Status status;
};

struct ProducerOptions {
  Acks acks = Acks::kAll;
  bool idempotent = true;  // not with acks none
  records::Compression compression;
  // A batch is closed when it holds this many bytes, before compression.
  size_t batch_bytes = 256 << 10;
  // A record over this is refused by Send; the topic's max.message.bytes says what the broker
  // takes.
  size_t record_bytes_max = (1 << 20) - 64;
  // Of records not yet acknowledged; Send waits beyond it.
  size_t buffer_bytes_max = 64 << 20;
  int batches_in_flight_max = 5;   // of a partition; the broker remembers the last five
  int requests_in_flight_max = 5;  // of a core's connection
  size_t request_bytes_max = 4 << 20;
  // From Send until the last try.
  absl::Duration delivery_timeout = absl::Seconds(120);
  // Called for each batch. Without it, Flush tells the first failure.
  std::function<void(const Delivery&)> on_delivery;
};

struct ProducerStats {
  uint64_t records_sent = 0;
  uint64_t records_acked = 0;
  uint64_t records_failed = 0;
  uint64_t requests = 0;
  uint64_t owner_requests = 0;  // of these, to the owning core's own connection
  uint64_t batches = 0;
  uint64_t retries = 0;  // batches sent again
};

class Producer : private EventLoop::Handler {
 public:
  static absl::StatusOr<std::unique_ptr<Producer>> Make(Client* client, ProducerOptions options);
  ~Producer() override;

  // Queues a record. Waits for metadata the first time, and for room in the buffer, at most for the
  // delivery timeout. Returns the record's number in its partition, counted by this producer from
  // 0. kNotFound (topic, partition), kInvalidArgument (record too large), kDeadlineExceeded.
  absl::StatusOr<uint64_t> Send(const ProducerRecord& record);

  // Sends all that is queued and waits until it is settled. The first failure since the last Flush;
  // kDeadlineExceeded if the wait was too short.
  absl::Status Flush(absl::Duration timeout = absl::InfiniteDuration());

  // Sends one record and waits for its offset (-1 where the broker doesn't tell it).
  absl::StatusOr<int64_t> Produce(const ProducerRecord& record);

  // Does what has come up, and waits if nothing has.
  void Poll(absl::Duration wait);

  // Records sent and not settled.
  uint64_t outstanding() const {
    return stats_.records_sent - stats_.records_acked - stats_.records_failed;
  }
  const ProducerStats& stats() const { return stats_; }

 private:
  struct Batch {
    enum class State { kSent, kRetry };  // of those in Partition::sent
    State state = State::kSent;
    std::vector<uint8_t> bytes;
    size_t charged = 0;  // against buffer_bytes_max
    uint64_t first = 0;
    uint32_t count = 0;
    Nanos born = 0;
    bool in_doubt = false;  // it was sent, and nobody knows whether it was appended
    absl::Status error;     // of the last try
  };
  struct Lane;
  struct Partition {
    explicit Partition(const records::BuilderOptions& options) : builder(options) {}
    bool Any(Batch::State state) const;

    std::string topic;
    int32_t index = 0;
    records::RecordBatchBuilder builder;
    uint64_t open_first = 0;
    Nanos open_born = 0;
    std::deque<std::unique_ptr<Batch>> ready;  // closed and never sent, in order
    std::deque<std::unique_ptr<Batch>> sent;   // sent and not settled, in order
    Lane* lane = nullptr;
    bool in_lane = false;  // stands in lane->waiting
    bool parked = false;   // stands in parked_
    bool broken = false;   // its sequence has a gap: sends nothing until there is a new producer id
    Nanos retry_at = 0;
    int failures = 0;  // in a row
    int32_t next_sequence = 0;
    uint64_t next_record = 0;
  };
  // Partitions with the same leader, and the requests to it.
  struct Lane {
    int32_t node = -1;
    std::deque<Partition*> waiting;  // may have something to send
    Connection* connection = nullptr;
    int requests = 0;  // on `connection`, not answered
  };
  struct Topic {
    std::vector<std::unique_ptr<Partition>> partitions;
    size_t sticky = 0;  // where records without a key go until that batch is closed
  };
  struct Item {
    Partition* partition;
    Batch* batch;
  };
  // The record that Produce waits for.
  struct Watch {
    Partition* partition = nullptr;
    uint64_t record = 0;
    bool settled = false;
    absl::Status status;
    int64_t offset = -1;
  };

  Producer(Client* client, ProducerOptions options);

  // producer.cc: from records to batches.
  absl::StatusOr<Partition*> FindPartition(const ProducerRecord& record, Nanos deadline);
  absl::StatusOr<Topic*> FindTopic(absl::string_view name, size_t partitions, Nanos deadline);
  absl::StatusOr<uint64_t> Enqueue(const ProducerRecord& record, Partition** partition);
  absl::Status Append(Partition* partition, const ProducerRecord& record, Nanos now);
  absl::Status Close(Partition* partition);
  absl::Status AwaitRoom(Nanos deadline);
  void RunDeliveries();
  void Turn(Nanos until);

  // producer_requests.cc: from batches to requests, and their outcome.
  absl::Status AwaitId();
  void RequestId();
  void OnId(const absl::Status& status, Reply* reply);
  void TakeId(const wire::InitProducerResponse& id);
  void Stamp(Partition* partition, Batch* batch);
  void RenewIfDrained();
  bool HasWork(const Partition& partition) const;
  Batch* Next(Partition* partition);
  bool Place(Partition* partition, Nanos now);
  void Offer(Partition* partition);
  void Park(Partition* partition, Nanos until);
  void Unpark(Nanos now);
  void Pump(Lane* lane);
  std::vector<Item> Gather(Lane* lane, Nanos now);
  void SendRequest(Lane* lane, std::vector<Item> items, Nanos now);
  void OnReply(Lane* lane, const std::vector<Item>& items, const absl::Status& status,
               Reply* reply);
  void OnResult(const Item& item, const wire::PartitionProduced& result);
  void OnRefused(const Item& item, const absl::Status& error);
  void Retry(const Item& item, const absl::Status& why, bool in_doubt);
  void Settle(const Item& item, const absl::Status& status, int64_t base_offset);
  void Expire(Nanos now);
  void FailAll(const absl::Status& why);
  template <class Visit>
  void ForEachPartition(Visit visit);

  void OnReady(uint32_t) override {}
  void OnTime(Nanos now) override;

  Client* const client_;
  const ProducerOptions options_;
  const Nanos delivery_timeout_;
  const int window_;  // batches of a partition on the way
  std::unique_ptr<Router> router_;
  google::protobuf::Arena arena_;  // of the request being built
  absl::flat_hash_map<std::string, std::unique_ptr<Topic>> topics_;
  absl::flat_hash_map<int32_t, std::unique_ptr<Lane>> lanes_;
  std::vector<Partition*> parked_;
  std::vector<Delivery> deliveries_;
  bool delivering_ = false;
  Watch watch_;

  bool has_id_ = false;
  bool renew_ = false;  // get another producer id, once nothing is on the way with the old one
  bool requesting_id_ = false;
  int64_t producer_id_ = -1;
  int16_t producer_epoch_ = -1;

  absl::Status fatal_;          // nothing can be sent any more
  absl::Status id_error_;       // of the last request for an id that failed
  absl::Status first_failure_;  // since the last Flush
  size_t buffered_bytes_ = 0;
  Nanos last_turn_ = 0;
  uint64_t random_;
  ProducerStats stats_;
};

}  // namespace ringtail::client
