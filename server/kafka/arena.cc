#include "server/kafka/arena.h"

#include <algorithm>

namespace ringtail::kafka {

void Arena::AddBlock(size_t bytes_min) {
  full_bytes_ += position_;
  const size_t size = std::max({bytes_min, kBlockBytesMin, reserved_bytes_});
  blocks_.push_back({std::make_unique_for_overwrite<uint8_t[]>(size), size});
  reserved_bytes_ += size;
  current_ = blocks_.back().memory.get();
  position_ = 0;
  end_ = size;
}

void Arena::Reset() {
  const bool too_large = reserved_bytes_ > kept_bytes_max_;
  if (blocks_.size() > 1 || too_large) {
    // One block that would have held it all serves the next request of this kind.
    const size_t wanted = too_large ? 0 : reserved_bytes_;
    blocks_.clear();
    current_ = nullptr;
    position_ = end_ = reserved_bytes_ = 0;
    if (wanted > 0) AddBlock(wanted);
  }
  position_ = 0;
  full_bytes_ = 0;
}

}  // namespace ringtail::kafka
