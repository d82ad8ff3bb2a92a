#include "perf/raw/range_sender.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "perf/lib/check.h"

namespace ringtail::raw {
namespace {

using perf::CheckCall;
using perf::Require;

constexpr int kPipeBytes = 1 << 20;

}  // namespace

RangeSender::RangeSender(const FetchOptions& options, const std::string& file, int socket)
    : options_(options),
      file_(CheckCall(open(file.c_str(), O_RDONLY | O_CLOEXEC), "open")),
      socket_(socket) {
  struct stat stat;
  CheckCall(fstat(file_.get(), &stat), "fstat");
  size_ = stat.st_size / options.chunk_bytes * options.chunk_bytes;
  Require(size_ > 0, "the file is smaller than a chunk");
  if (options.method == FetchMethod::kReadSend) {
    buffer_ = std::make_unique<perf::Buffer>(static_cast<size_t>(options.chunk_bytes));
  }
  if (options.method == FetchMethod::kSplice) OpenPipe();
  if (options.method == FetchMethod::kMapped) {
    void* memory = mmap(nullptr, static_cast<size_t>(size_), PROT_READ,
                        MAP_SHARED | (options.cold ? 0 : MAP_POPULATE), file_.get(), 0);
    Require(memory != MAP_FAILED, "mmap failed");
    mapping_ = static_cast<const char*>(memory);
  }
}

RangeSender::~RangeSender() {
  if (mapping_ != nullptr) munmap(const_cast<char*>(mapping_), static_cast<size_t>(size_));
}

bool RangeSender::SendChunk() {
  while (sent_ < options_.chunk_bytes) {
    const ssize_t sent = SendSome();
    if (sent < 0 && errno == EAGAIN) return false;
    CheckCall(sent, "send");
    sent_ += sent;
  }
  sent_ = 0;
  loaded_ = 0;
  position_ = (position_ + options_.chunk_bytes) % size_;
  return true;
}

void RangeSender::OpenPipe() {
  int ends[2];
  CheckCall(pipe2(ends, O_NONBLOCK | O_CLOEXEC), "pipe2");
  pipe_out_ = perf::Fd(ends[0]);
  pipe_in_ = perf::Fd(ends[1]);
  CheckCall(fcntl(ends[1], F_SETPIPE_SZ, kPipeBytes), "F_SETPIPE_SZ");
}

ssize_t RangeSender::SendSome() {
  const auto left = static_cast<size_t>(options_.chunk_bytes - sent_);
  off_t position = position_ + sent_;
  switch (options_.method) {
    case FetchMethod::kSendfile:
      return sendfile(socket_, file_.get(), &position, left);
    case FetchMethod::kMapped:
      return send(socket_, mapping_ + position, left, MSG_NOSIGNAL);
    case FetchMethod::kReadSend:
      if (loaded_ == 0) loaded_ = pread(file_.get(), buffer_->data(), buffer_->size(), position);
      return send(socket_, buffer_->data() + sent_, left, MSG_NOSIGNAL);
    case FetchMethod::kSplice:
      return SpliceSome();
  }
  return -1;
}

ssize_t RangeSender::SpliceSome() {
  if (loaded_ == sent_) {  // the pipe is empty
    loff_t position = position_ + sent_;
    const auto left = static_cast<size_t>(options_.chunk_bytes - sent_);
    loaded_ +=
        CheckCall(splice(file_.get(), &position, pipe_in_.get(), nullptr, left, 0), "splice");
  }
  const auto in_pipe = static_cast<size_t>(loaded_ - sent_);
  return splice(pipe_out_.get(), nullptr, socket_, nullptr, in_pipe,
                SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
}

bool ServeRequests(int socket, DueRequests& due, RangeSender& sender) {
  if (!due.Take(socket)) return false;
  while (due.count() > 0 && sender.SendChunk()) {
    due.Answered();
    if (due.count() == 0 && !due.Take(socket)) return false;
  }
  return true;
}

}  // namespace ringtail::raw
