// Working memory of requests that is kept for the next ones, so that a steady load allocates
// nothing. Of one core.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

namespace ringtail::server {

template <class T>
class Spares {
 public:
  // Gives its object back when destroyed; the pool outlives it.
  class Lease {
   public:
    Lease(Spares& pool, std::unique_ptr<T> object) : pool_(pool), object_(std::move(object)) {}
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    ~Lease() {
      if (pool_.kept_.size() < kKeptMax) pool_.kept_.push_back(std::move(object_));
    }
    T* operator->() { return object_.get(); }
    T& operator*() { return *object_; }

   private:
    Spares& pool_;
    std::unique_ptr<T> object_;
  };

  // As it was given back: whoever takes it clears it.
  Lease Take() {
    if (kept_.empty()) return Lease(*this, std::make_unique<T>());
    std::unique_ptr<T> object = std::move(kept_.back());
    kept_.pop_back();
    return Lease(*this, std::move(object));
  }

 private:
  static constexpr size_t kKeptMax = 16;
  std::vector<std::unique_ptr<T>> kept_;
};

}  // namespace ringtail::server
