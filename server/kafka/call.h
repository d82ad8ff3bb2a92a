// One request while it is handled, and the pool in which a core keeps such for the next ones: a
// steady load allocates nothing, an idle connection holds nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "server/broker.h"
#include "server/kafka/arena.h"
#include "server/kafka/frame.h"

namespace ringtail::server {
struct Exchange;
}

namespace ringtail::kafka {

struct Call {
  server::Exchange* exchange = nullptr;
  RequestFrame request;
  int16_t version = 0;
  Arena arena;
  std::vector<server::ProduceItem> produce_items;
  std::vector<server::FetchItem> fetch_items;
  std::vector<server::OffsetItem> offset_items;
  std::vector<uint32_t> session_slots;  // of fetch_items, in an incremental fetch
  std::vector<RecordsHole> holes;

  // Makes it ready for the next request.
  void Clear();
  size_t memory_bytes() const;  // that it keeps
};

class CallPool {
 public:
  static constexpr size_t kCallBytesMax = 2u << 20;  // a call that grew larger is not kept
  static constexpr size_t kBytesMax = 8u << 20;      // of all that are kept

  std::unique_ptr<Call> Take();
  void Keep(std::unique_ptr<Call> call);
  size_t kept_bytes() const { return kept_bytes_; }

 private:
  std::vector<std::unique_ptr<Call>> spare_;
  size_t kept_bytes_ = 0;
};

}  // namespace ringtail::kafka
