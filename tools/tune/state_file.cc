#include "tools/tune/state_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "engine/base/result.h"
#include "tools/tune/rules.h"

namespace ringtail::tune {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kVersion = 1;
constexpr off_t kBytesMax = 4 << 20;  // a thousand CPUs with all their idle states

absl::Status FromErrno(const char* what, const std::string& file) {
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot ", what, " ", file));
}

std::string DirectoryOf(const std::string& file) {
  const size_t slash = file.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : file.substr(0, slash);
}

absl::Status SyncDirectory(const std::string& directory) {
  const int fd = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return FromErrno("open", directory);
  const auto close_fd = absl::MakeCleanup([fd] { close(fd); });
  return fsync(fd) == 0 ? absl::OkStatus() : FromErrno("sync", directory);
}

absl::Status WriteAndSync(const std::string& file, const std::string& text) {
  const int fd = open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return FromErrno("write", file);
  const auto close_fd = absl::MakeCleanup([fd] { close(fd); });
  for (size_t done = 0; done < text.size();) {
    const ssize_t written = write(fd, text.data() + done, text.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return FromErrno("write", file);
    done += static_cast<size_t>(written);
  }
  return fsync(fd) == 0 ? absl::OkStatus() : FromErrno("sync", file);
}

// Empty where there is no file.
absl::StatusOr<std::string> ReadOwn(const std::string& file) {
  const int fd = open(file.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT) return std::string();
  if (fd < 0) return FromErrno("read", file);
  const auto close_fd = absl::MakeCleanup([fd] { close(fd); });
  struct stat info{};
  if (fstat(fd, &info) != 0) return FromErrno("read", file);
  if (!S_ISREG(info.st_mode) || info.st_uid != geteuid()) {
    return absl::FailedPreconditionError(absl::StrCat(file, ": expected a file of user ", geteuid(),
                                                      ", came one of user ", info.st_uid,
                                                      "; what it says is not to be trusted"));
  }
  if (info.st_size == 0 || info.st_size > kBytesMax) {
    return absl::DataLossError(absl::StrCat(file, ": ", info.st_size, " bytes"));
  }
  std::string text(static_cast<size_t>(info.st_size), '\0');
  for (size_t done = 0; done < text.size();) {
    const ssize_t got = read(fd, text.data() + done, text.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FromErrno("read", file);
    if (got == 0) return absl::DataLossError(absl::StrCat(file, ": it was cut off meanwhile"));
    done += static_cast<size_t>(got);
  }
  return text;
}

absl::StatusOr<Former> ParseFormer(const Json& json) {
  Former former{.path = json.at("file").get<std::string>(),
                .value = json.at("former").get<std::string>()};
  if (!IsChangeable(former.path)) {
    return absl::DataLossError(absl::StrCat("no rule changes \"", former.path, "\""));
  }
  return former;
}

absl::StatusOr<RevertState> Parse(const std::string& text) {
  RevertState state;
  const Json json = Json::parse(text);
  if (json.at("version").get<int>() != kVersion) {
    return absl::DataLossError(
        absl::StrCat("version ", json.at("version").dump(), ", expected ", kVersion));
  }
  state.boot = json.at("boot").get<std::string>();
  for (const Json& change : json.at("changes")) {
    Record record;
    RT_ASSIGN_OR_RETURN(record.former, ParseFormer(change));
    record.applied = change.at("applied").get<std::vector<std::string>>();
    for (const Json& also : change.at("also")) {
      RT_ASSIGN_OR_RETURN(Former former, ParseFormer(also));
      record.also.push_back(std::move(former));
    }
    state.records.push_back(std::move(record));
  }
  return state;
}

}  // namespace

absl::StatusOr<StateLock> StateLock::Take(const std::string& file) {
  const std::string directory = DirectoryOf(file);
  if (mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) return FromErrno("make", directory);
  const int fd = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return FromErrno("open", directory);
  // The directory itself, so that no other file is left behind.
  while (flock(fd, LOCK_EX) != 0) {
    if (errno == EINTR) continue;
    const absl::Status status = FromErrno("lock", directory);
    close(fd);
    return status;
  }
  return StateLock(fd);
}

StateLock::StateLock(StateLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

StateLock::~StateLock() {
  if (fd_ >= 0) close(fd_);
}

absl::StatusOr<std::optional<RevertState>> ReadState(const std::string& file) {
  RT_ASSIGN_OR_RETURN(const std::string text, ReadOwn(file));
  if (text.empty()) return std::optional<RevertState>();
  const auto damaged = [&file](absl::string_view why) {
    return absl::DataLossError(
        absl::StrCat(file, ": no record of changes that this program made: ", why,
                     ". It is left as it is; move it away, or name another with --state"));
  };
  try {
    absl::StatusOr<RevertState> state = Parse(text);
    if (!state.ok()) return damaged(state.status().message());
    return std::optional<RevertState>(*std::move(state));
  } catch (const Json::exception& error) {
    return damaged(error.what());
  }
}

absl::Status WriteState(const std::string& file, const RevertState& state) {
  Json json;
  json["version"] = kVersion;
  json["boot"] = state.boot;
  json["changes"] = Json::array();
  for (const Record& record : state.records) {
    Json also = Json::array();
    for (const Former& former : record.also) {
      also.push_back({{"file", former.path}, {"former", former.value}});
    }
    json["changes"].push_back({{"file", record.former.path},
                               {"former", record.former.value},
                               {"applied", record.applied},
                               {"also", std::move(also)}});
  }
  const std::string temporary = absl::StrCat(file, ".tmp");
  RT_RETURN_IF_ERROR(WriteAndSync(
      temporary, absl::StrCat(json.dump(2, ' ', false, Json::error_handler_t::replace), "\n")));
  if (rename(temporary.c_str(), file.c_str()) != 0) return FromErrno("write", file);
  return SyncDirectory(DirectoryOf(file));
}

absl::Status RemoveState(const std::string& file) {
  if (unlink(file.c_str()) != 0 && errno != ENOENT) return FromErrno("remove", file);
  return SyncDirectory(DirectoryOf(file));
}

}  // namespace ringtail::tune
