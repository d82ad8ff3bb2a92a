#include "engine/io/uring_ring_setup.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/check.h"
#include "engine/io/uring_abi.h"

namespace ringtail::io {
namespace {

std::string KernelRelease() {
  utsname name = {};
  return uname(&name) == 0 ? name.release : "unknown";
}

// The first character of /proc/sys/kernel/io_uring_disabled (Linux 6.6), or 0 where there is none.
char UringDisabledSetting() {
  const int fd = open("/proc/sys/kernel/io_uring_disabled", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  char value = 0;
  const ssize_t bytes = read(fd, &value, 1);
  close(fd);
  return bytes == 1 ? value : 0;
}

absl::Status ExplainSetupError(int error) {
  const std::string prefix =
      absl::StrCat("io_uring: ", strerror(error), " (kernel ", KernelRelease(), "). ");
  const char disabled = UringDisabledSetting();
  if ((error == EPERM || error == EACCES) && (disabled == '1' || disabled == '2')) {
    return absl::PermissionDeniedError(absl::StrCat(
        prefix, "io_uring is switched off by kernel.io_uring_disabled=", std::string(1, disabled),
        ". Allow it with: sysctl -w kernel.io_uring_disabled=0"));
  }
  if (error == EPERM || error == EACCES || error == ENOSYS) {
    return absl::PermissionDeniedError(absl::StrCat(
        prefix,
        "A seccomp filter refuses io_uring, as container runtimes do by default, or the kernel is "
        "built without it. Allow the system calls io_uring_setup, io_uring_enter and "
        "io_uring_register (Docker, Podman: --security-opt seccomp=unconfined or a profile with "
        "them; systemd: SystemCallFilter=@system-service has them)"));
  }
  if (error == ENOMEM) {
    return absl::ResourceExhaustedError(absl::StrCat(
        prefix,
        "No memory for the ring: raise the memlock limit (ulimit -l, LimitMEMLOCK=; 8 MiB are "
        "enough for tens of cores), or the memory limit of the control group"));
  }
  if (error == EINVAL) {
    return absl::FailedPreconditionError(absl::StrCat(prefix, "Ringtail needs Linux 6.1 or newer"));
  }
  if (error == EMFILE || error == ENFILE) {
    return absl::ResourceExhaustedError(
        absl::StrCat(prefix, "Raise the limit of open files (ulimit -n, LimitNOFILE=)"));
  }
  return absl::UnavailableError(prefix);
}

struct NeededOperation {
  int code;
  const char* name;
};

constexpr NeededOperation kNeeded[] = {
    {IORING_OP_READV, "READV"},
    {IORING_OP_WRITEV, "WRITEV"},
    {IORING_OP_READ, "READ"},
    {IORING_OP_WRITE, "WRITE"},
    {IORING_OP_FSYNC, "FSYNC"},
    {IORING_OP_SYNC_FILE_RANGE, "SYNC_FILE_RANGE"},
    {IORING_OP_FALLOCATE, "FALLOCATE"},
    {IORING_OP_FADVISE, "FADVISE"},
    {IORING_OP_OPENAT, "OPENAT"},
    {IORING_OP_CLOSE, "CLOSE"},
    {IORING_OP_UNLINKAT, "UNLINKAT"},
    {IORING_OP_RENAMEAT, "RENAMEAT"},
    {IORING_OP_MKDIRAT, "MKDIRAT"},
    {IORING_OP_ACCEPT, "ACCEPT"},
    {IORING_OP_CONNECT, "CONNECT"},
    {IORING_OP_RECV, "RECV"},
    {IORING_OP_SEND, "SEND"},
    {IORING_OP_SENDMSG, "SENDMSG"},
    {IORING_OP_POLL_ADD, "POLL_ADD"},
    {IORING_OP_SPLICE, "SPLICE"},
    {IORING_OP_ASYNC_CANCEL, "ASYNC_CANCEL"},
};

bool ProbeCachestat() {
  abi::CachestatRange range = {0, 1};
  abi::Cachestat result = {};
  // A bad descriptor: EBADF from a kernel that has the call, ENOSYS or EPERM from others.
  return syscall(abi::kSysCachestat, -1, &range, &result, 0) < 0 && errno == EBADF;
}

// RWF_DONTCACHE is refused with EOPNOTSUPP by older kernels and by file systems without it.
bool ProbeDontCache(const std::string& data_directory) {
  const bool own_file = !data_directory.empty();
  const int fd = own_file ? open(data_directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)
                          : open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  char byte = 0;
  iovec vector = {&byte, 1};
  const bool written = !own_file || pwrite(fd, &byte, 1, 0) == 1;
  const bool supported = written && preadv2(fd, &vector, 1, 0, abi::kRwfDontCache) == 1;
  close(fd);
  return supported;
}

}  // namespace

absl::Status SetUpRing(const UringOptions& options, io_uring* ring) {
  io_uring_params params = {};
  params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE |
                 IORING_SETUP_CLAMP;
  if (options.sqpoll_idle_ms > 0) {
    params.flags |= IORING_SETUP_SQPOLL;
    params.sq_thread_idle = options.sqpoll_idle_ms;
  } else {
    params.flags |= IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
  }
  params.cq_entries = options.completion_entries;
  const int error = io_uring_queue_init_params(options.submission_entries, ring, &params);
  if (error != 0) return ExplainSetupError(-error);
  const uint32_t needed_features =
      IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE | IORING_FEAT_EXT_ARG | IORING_FEAT_CQE_SKIP;
  if ((params.features & needed_features) != needed_features) {
    io_uring_queue_exit(ring);
    return ExplainSetupError(EINVAL);
  }
  // A seccomp filter may allow io_uring_setup and refuse the other calls.
  io_uring_prep_nop(io_uring_get_sqe(ring));
  const int entered = io_uring_submit_and_wait(ring, 1);
  if (entered < 0) {
    io_uring_queue_exit(ring);
    return ExplainSetupError(-entered);
  }
  io_uring_cq_advance(ring, 1);
  io_uring_register_ring_fd(ring);  // saves a descriptor lookup per call; works without
  return absl::OkStatus();
}

absl::Status ProbeFeatures(const UringOptions& options, io_uring* ring, Features* features) {
  const std::unique_ptr<io_uring_probe, void (*)(io_uring_probe*)> probe(
      io_uring_get_probe_ring(ring), &io_uring_free_probe);
  if (probe == nullptr) {
    return ExplainSetupError(EPERM);  // io_uring_register is refused; every kernel since 5.6 has it
  }
  std::vector<const char*> missing;
  for (const NeededOperation& operation : kNeeded) {
    if (!io_uring_opcode_supported(probe.get(), operation.code)) missing.push_back(operation.name);
  }
  if (!missing.empty()) {
    return absl::FailedPreconditionError(absl::StrCat("io_uring of kernel ", KernelRelease(),
                                                      " lacks ", absl::StrJoin(missing, ", "),
                                                      "; Ringtail needs Linux 6.1 or newer"));
  }
  features->send_zero_copy = io_uring_opcode_supported(probe.get(), IORING_OP_SEND_ZC) &&
                             io_uring_opcode_supported(probe.get(), IORING_OP_SENDMSG_ZC);
  features->message_ring = io_uring_opcode_supported(probe.get(), IORING_OP_MSG_RING);
  features->cachestat = ProbeCachestat();
  features->dont_cache = ProbeDontCache(options.data_directory);
  const auto word = [](bool have) { return have ? "yes" : "no"; };
  features->description = absl::StrCat(
      "io_uring, kernel ", KernelRelease(), ", cachestat ", word(features->cachestat),
      ", uncached reads ", word(features->dont_cache), ", zero-copy send ",
      word(features->send_zero_copy), ", ring messages ", word(features->message_ring));
  return absl::OkStatus();
}

void LimitWorkersOf(const WorkerLimits& limits, io_uring* ring) {
  unsigned workers[2] = {limits.file_max, limits.other_max};
  io_uring_register_iowq_max_workers(ring, workers);
  cpu_set_t cpus;
  // The process's first thread is on no CPU of its own.
  if (sched_getaffinity(limits.own_cpus ? 0 : getpid(), sizeof(cpus), &cpus) == 0) {
    io_uring_register_iowq_aff(ring, sizeof(cpus), &cpus);
  }
}

ProvidedRing::~ProvidedRing() {
  if (entries_ != nullptr) munmap(entries_, entries_bytes_);
  if (memory_ != nullptr) munmap(memory_, size_t{count_} * bytes_);
}

absl::Status ProvidedRing::SetUp(uint32_t count, uint32_t bytes, io_uring* ring) {
  RT_CHECK(count > 0 && count <= 32768 && (count & (count - 1)) == 0);
  const auto map = [](size_t size) -> void* {
    void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? nullptr : memory;
  };
  entries_bytes_ = count * sizeof(io_uring_buf);
  entries_ = static_cast<io_uring_buf_ring*>(map(entries_bytes_));
  memory_ = static_cast<uint8_t*>(map(size_t{count} * bytes));
  count_ = count;
  bytes_ = bytes;
  if (entries_ == nullptr || memory_ == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory for receive buffers: ", count, " of ", bytes,
                     " bytes; lower --provided_buffers or --provided_buffer_bytes"));
  }
  io_uring_buf_reg registration = {};
  registration.ring_addr = reinterpret_cast<uint64_t>(entries_);
  registration.ring_entries = count;
  registration.bgid = kGroup;
  // liburing 2.3 has no io_uring_setup_buf_ring; this is the bare call.
  const int error = io_uring_register(static_cast<unsigned>(ring->ring_fd),
                                      IORING_REGISTER_PBUF_RING, &registration, 1);
  if (error < 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("io_uring: registering receive buffers: ", strerror(-error)));
  }
  for (uint32_t id = 0; id < count; ++id) Release(static_cast<uint16_t>(id));
  return absl::OkStatus();
}

void ProvidedRing::Release(uint16_t id) {
  io_uring_buf_ring_add(entries_, Data(id), bytes_, id, io_uring_buf_ring_mask(count_), 0);
  io_uring_buf_ring_advance(entries_, 1);
}

}  // namespace ringtail::io
