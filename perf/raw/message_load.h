// The load of what is received: a client process that sends messages of one size over a number of
// connections, and waits for an acknowledgement of 64 bytes for each. The measured process has the
// other ends; how it receives is its own affair.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "perf/lib/isolated.h"
#include "perf/lib/load.h"
#include "perf/lib/os.h"
#include "perf/lib/timed_work.h"

namespace ringtail::raw {

inline constexpr int64_t kAckBytes = 64;

struct MessageLoad {
  int64_t message_bytes = 64 << 10;
  int connections = 1;
  double seconds = 1;
};

// The measured process's half: its sockets, the check of what comes, and the figures. Serve every
// socket until its peer ends it.
class MessageSource {
 public:
  // Starts the client and accepts its connections; blocking ones.
  explicit MessageSource(const MessageLoad& load);

  const MessageLoad& load() const { return load_; }
  size_t count() const { return sockets_.size(); }
  int socket(size_t connection) const { return sockets_[connection].get(); }

  // A message is there, from first to last byte, at `data`. Throws where it is not what was sent.
  void Take(const char* data);
  // What to send for so many messages; at most as many as a client has in flight.
  perf::Bytes Acks(int64_t messages) const;

  // When all connections have ended: figures as WorkMeter's, of messages; p50_us, p99_us and
  // p999_us are round trips as the client saw them.
  perf::Figures Finish();

 private:
  struct Phase;

  MessageLoad load_;
  std::unique_ptr<Phase, void (*)(Phase*)> phase_;  // in memory shared with the client
  std::optional<perf::Isolated> client_;
  std::vector<perf::Fd> sockets_;
  std::string acks_;
  perf::TimedWork work_;
};

// Memory of one connection into which messages are received as they come: as much as there is, at
// most to the end of a message that is larger than 64 KiB.
class MessageBuffer {
 public:
  explicit MessageBuffer(MessageSource& source);

  char* free() { return memory_.data() + filled_; }
  size_t free_bytes() const { return memory_.size() - filled_; }
  // `received` more bytes are there. Takes the whole messages among all; returns how many.
  int64_t Received(size_t received);
  // Whether a message is not all there yet.
  bool amid_message() const { return filled_ > 0; }

 private:
  MessageSource& source_;
  perf::Buffer memory_;
  size_t filled_ = 0;
};

// What the connections with half a message in lent buffers share: places in which such a message is
// put together. A connection without one has none, and an idle connection needs no memory at all,
// which is what lent buffers are for.
class MessagePlaces {
 public:
  explicit MessagePlaces(MessageSource& source) : source_(source) {}

  MessageSource& source() { return source_; }
  std::unique_ptr<perf::Buffer> Borrow();
  void Return(std::unique_ptr<perf::Buffer> place) { free_.push_back(std::move(place)); }

 private:
  MessageSource& source_;
  std::vector<std::unique_ptr<perf::Buffer>> free_;
};

// Takes the messages of one connection out of the lent buffers in which they come.
class MessageAssembler {
 public:
  explicit MessageAssembler(MessagePlaces& places) : places_(&places) {}

  // Takes the messages that end within these bytes; returns how many. One that lies in them whole
  // is not copied.
  int64_t Received(const char* data, size_t size);
  bool amid_message() const { return place_ != nullptr; }

 private:
  MessagePlaces* places_;
  std::unique_ptr<perf::Buffer> place_;
  size_t filled_ = 0;
};

}  // namespace ringtail::raw
