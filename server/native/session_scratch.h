// What one request needs while it is handled: its messages in an arena, its items in vectors.
// Reused, so that a steady load allocates nothing.
#pragma once

#include <google/protobuf/arena.h>

#include <vector>

#include "server/native/session.h"

namespace ringtail::native {

struct Session::Scratch {
  static constexpr size_t kBlockBytes = 4096;

  Scratch() : arena(Options(block)) {}

  void Begin() {
    request = google::protobuf::Arena::CreateMessage<proto::client::RequestHeader>(&arena);
    response = google::protobuf::Arena::CreateMessage<proto::client::ResponseHeader>(&arena);
  }
  void End() {
    produce_items.clear();
    produced.clear();
    fetch_items.clear();
    fetched.clear();
    offset_items.clear();
    arena.Reset();
  }
  size_t memory_bytes() const {  // that it keeps after End
    return sizeof(Scratch) + produce_items.capacity() * sizeof(produce_items[0]) +
           produced.capacity() * sizeof(produced[0]) +
           fetch_items.capacity() * sizeof(fetch_items[0]) +
           fetched.capacity() * sizeof(fetched[0]) +
           offset_items.capacity() * sizeof(offset_items[0]);
  }
  static google::protobuf::ArenaOptions Options(char* block) {
    google::protobuf::ArenaOptions options;
    options.initial_block = block;
    options.initial_block_size = kBlockBytes;
    return options;
  }

  alignas(16) char block[kBlockBytes];
  google::protobuf::Arena arena;
  proto::client::RequestHeader* request = nullptr;
  proto::client::ResponseHeader* response = nullptr;
  std::vector<server::ProduceItem> produce_items;
  std::vector<proto::client::PartitionProduced*> produced;  // one per produce item
  std::vector<server::FetchItem> fetch_items;
  std::vector<proto::client::PartitionFetched*> fetched;  // one per fetch item
  std::vector<server::OffsetItem> offset_items;
};

}  // namespace ringtail::native
