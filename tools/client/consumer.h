// Reads partitions from given offsets on, fetching ahead of the application.
//
// For each core that leads some of its partitions the consumer has one fetch on the way, which the
// broker answers when there is something to read. As soon as an answer is there the next fetch goes
// out, until `prefetch_bytes` lie ready; so the network is busy while the application works.
//
// Life: made by Client::NewConsumer, destroyed before the client. Same thread as the client. It
// keeps no offsets and joins no group: the application says where to begin.
#pragma once

#include <cstdint>
#include <deque>
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
#include "engine/log/batch.h"
#include "engine/records/record_reader.h"
#include "tools/client/client.h"

namespace ringtail::client {

struct ConsumerOptions {
  uint32_t fetch_bytes_max = 4 << 20;      // of one answer; one batch may be larger
  uint32_t partition_bytes_max = 1 << 20;  // of one partition in it
  uint32_t fetch_bytes_min = 1;            // the broker waits for this much,
  absl::Duration fetch_wait_max = absl::Milliseconds(500);  // at most this long
  size_t prefetch_bytes = 16 << 20;
  bool check_crc = true;
  // What to do when an offset isn't in the log any more (or yet).
  enum class OutOfRange { kFail, kBeginning, kEnd };
  OutOfRange out_of_range = OutOfRange::kFail;
};

struct Assignment {
  std::string topic;
  int32_t partition = 0;
  StartAt at;
};

// Views live until the next call of Poll or PollSlice.
struct ConsumerRecord {
  absl::string_view topic;
  int32_t partition = 0;
  int64_t offset = 0;
  int64_t timestamp_ms = -1;
  std::optional<absl::string_view> key;
  std::optional<absl::string_view> value;
  log::RecordView fields;  // headers: for (log::HeaderCursor h(record.fields); h.Next();) ...
};

// Whole RecordBatches of one partition, as they lie in the log. Records below `offset` at the start
// of the first batch were not asked for. Lives as long as a ConsumerRecord.
struct ConsumerSlice {
  absl::string_view topic;
  int32_t partition = 0;
  int64_t offset = 0;
  int64_t high_watermark = 0;
  base::ByteView batches;
};

struct ConsumerStats {
  uint64_t fetches = 0;
  uint64_t owner_fetches = 0;  // of these, to the owning core's own connection
  uint64_t bytes = 0;          // of batches received
  uint64_t retries = 0;        // partitions that had to be asked for again after an error
};

class Consumer : private EventLoop::Handler {
 public:
  Consumer(Client* client, ConsumerOptions options);
  ~Consumer() override;

  // Replaces what is assigned. Waits for metadata and the start offsets. kNotFound.
  absl::Status Assign(const std::vector<Assignment>& assignments);
  // Where the next record of an assigned partition is read from. kNotFound if it isn't assigned.
  absl::Status Seek(absl::string_view topic, int32_t partition, int64_t offset);

  // The next records, at least one and all of one batch, waiting for them at most for `wait`.
  // Empty: none came. An error concerns one partition and is told once: kOutOfRange, kDataLoss and
  // such stop that partition until Seek or Assign; the others go on.
  absl::StatusOr<std::span<const ConsumerRecord>> Poll(absl::Duration wait);
  // The same without looking into the batches, for who passes them on; null: none came.
  absl::StatusOr<const ConsumerSlice*> PollSlice(absl::Duration wait);

  // Offset of the next record that Poll will return; -1 if the partition isn't assigned.
  int64_t Position(absl::string_view topic, int32_t partition) const;
  // As of the last answer; -1 if there was none.
  int64_t HighWatermark(absl::string_view topic, int32_t partition) const;

  const ConsumerStats& stats() const { return stats_; }

 private:
  struct Partition {
    std::string topic;
    int32_t index = 0;
    uint64_t generation = 0;  // of its position: what was fetched for an older one is dropped
    int64_t fetch_offset = 0;
    int64_t position = 0;
    int64_t high_watermark = -1;
    Nanos retry_at = 0;
    int failures = 0;
    bool stopped = false;
  };
  struct Slice {
    Partition* partition;
    uint64_t generation;
    int64_t offset;
    int64_t high_watermark;
    base::ByteView batches;
  };
  // What one answer brought.
  struct Fetched {
    Buffer payload;
    std::vector<Slice> slices;
    size_t next = 0;
  };
  struct Asked {
    Partition* partition;
    uint64_t generation;
    int64_t offset;
  };
  struct Lane {
    int32_t node = -1;
    bool fetching = false;
    size_t turn = 0;  // which partition comes first, in turns
  };

  Partition* Find(absl::string_view topic, int32_t partition) const;
  absl::Status FindStarts(const std::vector<Assignment>& assignments);
  void Move(Partition* partition, int64_t offset);
  void Pump();
  void Fetch(Lane* lane, const std::vector<Partition*>& partitions, Nanos now);
  void OnReply(Lane* lane, const std::vector<Asked>& asked, uint64_t assignment,
               const absl::Status& status, Reply* reply);
  void OnPartition(const Asked& asked, const wire::PartitionFetched& result, base::ByteView batches,
                   Fetched* fetched);
  void OnError(Partition* partition, const wire::PartitionFetched& result);
  void Backoff(Partition* partition);
  void Stop(Partition* partition, absl::Status why);
  absl::Status NextOffset(const Partition& partition, base::ByteView batches, int64_t* next) const;
  absl::StatusOr<const Slice*> AwaitSlice(Nanos deadline);
  absl::Status Decode(const log::BatchView& batch);
  void DropFront();

  void OnReady(uint32_t) override {}
  void OnTime(Nanos now) override;

  Client* const client_;
  const ConsumerOptions options_;
  std::unique_ptr<Router> router_;
  google::protobuf::Arena arena_;
  std::vector<std::unique_ptr<Partition>> partitions_;
  uint64_t assignment_ = 0;  // counts calls of Assign
  absl::flat_hash_map<int32_t, std::unique_ptr<Lane>> lanes_;
  std::deque<std::unique_ptr<Fetched>> ready_;
  size_t ready_bytes_ = 0;
  std::deque<absl::Status> errors_;

  // The slice that Poll is in the middle of.
  const Slice* current_ = nullptr;
  log::BatchWalker walker_{{}};
  records::RecordReader reader_;
  std::vector<ConsumerRecord> records_;
  ConsumerSlice slice_;
  ConsumerStats stats_;
};

}  // namespace ringtail::client
