#include "perf/raw/write_paths.h"

#include <fcntl.h>
#include <liburing.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "perf/lib/check.h"
#include "perf/lib/os.h"
#include "perf/lib/timed_work.h"
#include "perf/raw/ring.h"

#ifndef RWF_DONTCACHE
#define RWF_DONTCACHE 0x80  // Linux 6.14
#endif

namespace ringtail::raw {
namespace {

using perf::CheckCall;
using perf::CheckRing;
using perf::Require;
using perf::Unavailable;

constexpr int64_t kPreallocateStepBytes = 16 << 20;
constexpr unsigned kRingEntries = 256;
constexpr int64_t kDirectAlignmentBytes = 4096;
constexpr int64_t kOverwrittenBytes = 32 << 20;  // lapped as a journal is

bool Direct(WritePath path) {
  return path == WritePath::kDirect || path == WritePath::kRingDirect ||
         path == WritePath::kDirectDsync || path == WritePath::kRingDirectDsync;
}

bool OnRing(WritePath path) {
  return path == WritePath::kRing || path == WritePath::kRingFixed ||
         path == WritePath::kRingDirect || path == WritePath::kRingDirectDsync;
}

// A journal's file has its blocks, and they have been written: nothing but the bytes is to be made
// durable.
bool Overwrites(WritePath path) {
  return path == WritePath::kDirectDsync || path == WritePath::kRingDirectDsync;
}

int Flags(WritePath path) {
  switch (path) {
    case WritePath::kPwritevDontCache:
      return RWF_DONTCACHE;
    case WritePath::kPwritevDsync:
    case WritePath::kDirectDsync:
    case WritePath::kRingDirectDsync:
      return RWF_DSYNC;
    default:
      return 0;
  }
}

class Files {
 public:
  explicit Files(const WriteOptions& options)
      : options_(options), scratch_(options.directory), room_bytes_(RoomOfEach(options)) {
    for (int i = 0; i < options.files; ++i) {
      const std::string path = scratch_.path() + "/" + std::to_string(i);
      const int flags =
          O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | (Direct(options.path) ? O_DIRECT : 0);
      const int fd = open(path.c_str(), flags, 0600);
      if (fd < 0 && errno == EINVAL && Direct(options.path)) {
        throw Unavailable("this file system has no O_DIRECT");
      }
      files_.emplace_back(CheckCall(fd, "open a file to write"));
    }
    if (Overwrites(options.path)) Fill();
  }

  int fd(size_t file) const { return files_[file].get(); }
  size_t count() const { return files_.size(); }

  // Makes room for the next batch in each, and moves on by it.
  int64_t Next() {
    if (position_ + options_.batch_bytes > room_bytes_) StartAgain();
    const int64_t end = position_ + options_.batch_bytes;
    if (end > reserved_bytes_) {
      const int64_t step = std::min(std::max(kPreallocateStepBytes, options_.batch_bytes),
                                    room_bytes_ - reserved_bytes_);
      for (const perf::Fd& file : files_) Allocate(file.get(), reserved_bytes_, step);
      reserved_bytes_ += step;
    }
    return std::exchange(position_, end);
  }

 private:
  static int64_t RoomOfEach(const WriteOptions& options) {
    int64_t room_bytes = options.space_bytes;
    if (Overwrites(options.path)) {
      room_bytes =
          std::min(room_bytes, std::max(kOverwrittenBytes, options.batch_bytes * options.files));
    }
    const int64_t batches = room_bytes / options.files / options.batch_bytes;
    if (batches < 1) throw Unavailable("no space for a batch in each file");
    return batches * options.batch_bytes;
  }

  void Allocate(int fd, int64_t from, int64_t bytes) {
    if (bytes <= 0 || fallocate(fd, 0, from, bytes) == 0) return;
    if (errno != EOPNOTSUPP) CheckCall(-1, "fallocate");  // it then grows as it is written
  }

  void StartAgain() {
    position_ = 0;
    if (Overwrites(options_.path)) return;
    for (const perf::Fd& file : files_) CheckCall(ftruncate(file.get(), 0), "ftruncate");
    reserved_bytes_ = 0;
  }

  void Fill() {
    const perf::Buffer zeros(1 << 20);
    for (const perf::Fd& file : files_) {
      for (int64_t at = 0; at < room_bytes_;) {
        const auto bytes = std::min(static_cast<int64_t>(zeros.size()), room_bytes_ - at);
        at += CheckCall(pwrite(file.get(), zeros.data(), static_cast<size_t>(bytes), at), "pwrite");
      }
      CheckCall(fsync(file.get()), "fsync");
    }
    reserved_bytes_ = room_bytes_;
  }

  const WriteOptions& options_;
  const perf::ScratchDir scratch_;
  const int64_t room_bytes_;  // of each file
  std::vector<perf::Fd> files_;
  int64_t position_ = 0;
  int64_t reserved_bytes_ = 0;
};

// How a batch gets to each of the files.
class Writer {
 public:
  virtual ~Writer() = default;
  virtual void WriteEach() = 0;
};

class CallWriter : public Writer {
 public:
  CallWriter(const WriteOptions& options, Files& files, const perf::Buffer& batch)
      : options_(options), files_(files), vector_{batch.data(), batch.size()} {}

  void WriteEach() override {
    const int64_t position = files_.Next();
    const int flags = Flags(options_.path);
    for (size_t i = 0; i < files_.count(); ++i) {
      const ssize_t written =
          flags == 0 ? pwrite(files_.fd(i), vector_.iov_base, vector_.iov_len, position)
                     : pwritev2(files_.fd(i), &vector_, 1, position, flags);
      if (written < 0 && errno == EOPNOTSUPP) {
        throw Unavailable("this kernel or file system does not know the flag of pwritev2");
      }
      Require(CheckCall(written, "write") == options_.batch_bytes, "a write was short");
      if (options_.path == WritePath::kPwriteFdatasync) {
        CheckCall(fdatasync(files_.fd(i)), "fdatasync");
      }
    }
  }

 private:
  const WriteOptions& options_;
  Files& files_;
  const iovec vector_;
};

class RingWriter : public Writer {
 public:
  RingWriter(const WriteOptions& options, Files& files, const perf::Buffer& batch)
      : options_(options), files_(files), batch_(batch), ring_({.entries = kRingEntries}) {
    if (options.path != WritePath::kRingFixed) return;
    const iovec vector = {batch.data(), batch.size()};
    const int registered = io_uring_register_buffers(ring_.get(), &vector, 1);
    if (registered == -ENOMEM) throw Unavailable("registered buffers: RLIMIT_MEMLOCK is too low");
    CheckRing(registered, "io_uring_register_buffers");
    std::vector<int> fds;
    for (size_t i = 0; i < files.count(); ++i) fds.push_back(files.fd(i));
    CheckRing(io_uring_register_files(ring_.get(), fds.data(), static_cast<unsigned>(fds.size())),
              "io_uring_register_files");
  }

  void WriteEach() override {
    const int64_t position = files_.Next();
    for (size_t i = 0; i < files_.count(); ++i) Prepare(i, position);
    for (size_t left = files_.count(); left > 0;) {
      ring_.SubmitAndWait(1);
      left -= ring_.Reap([this](const io_uring_cqe& completion) {
        Require(CheckRing(completion.res, "ring write") == options_.batch_bytes,
                "a write by the ring was short");
      });
    }
  }

 private:
  void Prepare(size_t file, int64_t position) {
    io_uring_sqe* sqe = ring_.Entry();
    const auto size = static_cast<unsigned>(batch_.size());
    if (options_.path == WritePath::kRingFixed) {
      io_uring_prep_write_fixed(sqe, static_cast<int>(file), batch_.data(), size, position, 0);
      sqe->flags |= IOSQE_FIXED_FILE;
    } else {
      io_uring_prep_write(sqe, files_.fd(file), batch_.data(), size, position);
    }
    sqe->rw_flags = Flags(options_.path);
  }

  const WriteOptions& options_;
  Files& files_;
  const perf::Buffer& batch_;
  Ring ring_;
};

}  // namespace

std::string Name(WritePath path) {
  constexpr std::array kNames = {"pwrite",
                                 "pwritev2 DONTCACHE",
                                 "ring",
                                 "ring fixed",
                                 "pwrite O_DIRECT",
                                 "ring O_DIRECT",
                                 "pwrite fdatasync",
                                 "pwritev2 DSYNC",
                                 "pwritev2 O_DIRECT DSYNC",
                                 "ring O_DIRECT DSYNC"};
  return kNames[static_cast<size_t>(path)];
}

perf::Figures RunWrites(const WriteOptions& options, double seconds) {
  Require(options.batch_bytes > 0 && options.files > 0, "nothing to write");
  if (Direct(options.path) && options.batch_bytes % kDirectAlignmentBytes != 0) {
    throw Unavailable("O_DIRECT wants multiples of 4 KiB");
  }
  const perf::Buffer batch(static_cast<size_t>(options.batch_bytes));
  std::memset(batch.data(), 'r', batch.size());
  Files files(options);
  std::unique_ptr<Writer> writer;
  if (OnRing(options.path)) {
    writer = std::make_unique<RingWriter>(options, files, batch);
  } else {
    writer = std::make_unique<CallWriter>(options, files, batch);
  }
  return perf::MeasureOperations(seconds, options.batch_bytes * options.files,
                                 [&] { writer->WriteEach(); });
}

}  // namespace ringtail::raw
