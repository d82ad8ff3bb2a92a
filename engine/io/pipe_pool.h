// A core's pipes for splicing. At most `pipes_max` are out at a time, so that peers that read
// slowly cannot hold more; a pipe that isn't empty is closed when it comes back, never used again.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/io/backend.h"

namespace ringtail::io {

class PipePool {
 public:
  struct Ends {
    int read_end = -1;
    int write_end = -1;
    int64_t capacity_bytes = 0;
  };

  // Gives its pipe back when destroyed: to the pool if empty, else it is closed.
  class Lease {
   public:
    Lease() = default;
    Lease(Lease&& other) noexcept;
    Lease& operator=(Lease&&) = delete;
    ~Lease();
    bool held() const { return pool_ != nullptr; }
    const Ends& ends() const { return ends_; }
    // What the user of the pipe put in and took out.
    void Filled(int64_t bytes) { content_bytes_ += bytes; }
    void Drained(int64_t bytes) { content_bytes_ -= bytes; }
    int64_t content_bytes() const { return content_bytes_; }

   private:
    friend class PipePool;
    PipePool* pool_ = nullptr;
    Ends ends_;
    int64_t content_bytes_ = 0;
  };

  PipePool(Backend& backend, size_t pipes_max, int64_t pipe_bytes)
      : backend_(backend), pipes_max_(pipes_max), pipe_bytes_(pipe_bytes) {}
  PipePool(const PipePool&) = delete;
  PipePool& operator=(const PipePool&) = delete;
  ~PipePool();

  // Not held where all pipes are out or none can be made.
  Lease Take();
  size_t out() const { return out_; }
  size_t idle() const { return idle_.size(); }

 private:
  void Close(const Ends& ends);

  Backend& backend_;
  size_t pipes_max_;
  int64_t pipe_bytes_;
  size_t out_ = 0;
  std::vector<Ends> idle_;
};

}  // namespace ringtail::io
