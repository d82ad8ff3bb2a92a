#include "tools/tune/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace ringtail::tune {
namespace {

constexpr size_t kFileBytesMax = 1 << 20;
constexpr int kLinksMax = 40;  // as path_resolution(7) has it

absl::Status FromErrno(int error) { return {absl::ErrnoToStatusCode(error), strerror(error)}; }

}  // namespace

Tree::Tree(std::string root) : root_(absl::StripSuffix(root, "/")) {}

std::string Tree::OnDisk(const std::string& path) const {
  return root_.empty() ? path : absl::StrCat(root_, Resolve(path));
}

absl::StatusOr<std::string> Tree::Read(const std::string& path) const {
  // A fixture may hold a pipe by mistake, and a device may have nothing to say.
  const int fd = open(OnDisk(path).c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return FromErrno(errno);
  const auto close_fd = absl::MakeCleanup([fd] { close(fd); });
  std::string text(kFileBytesMax, '\0');
  size_t filled = 0;
  while (filled < text.size()) {
    const ssize_t got = read(fd, text.data() + filled, text.size() - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && filled == 0) return FromErrno(errno);
    if (got <= 0) break;
    filled += static_cast<size_t>(got);
    // A device gives one value again and again; a file of /proc or /sys ends.
    if (filled == sizeof(int32_t) && path == "/dev/cpu_dma_latency") break;
  }
  text.resize(filled);
  return text;
}

absl::StatusOr<std::string> Tree::ReadValue(const std::string& path) const {
  const absl::StatusOr<std::string> text = Read(path);
  if (!text.ok()) return text;
  return absl::StrJoin(absl::StrSplit(*text, absl::ByAnyChar(" \t\n\r"), absl::SkipEmpty()), " ");
}

bool Tree::Exists(const std::string& path) const { return access(OnDisk(path).c_str(), F_OK) == 0; }

std::vector<std::string> Tree::List(const std::string& path) const {
  std::vector<std::string> names;
  DIR* directory = opendir(OnDisk(path).c_str());
  if (directory == nullptr) return names;
  while (const dirent* entry = readdir(directory)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  closedir(directory);
  std::sort(names.begin(), names.end(), [](const std::string& a, const std::string& b) {
    return strverscmp(a.c_str(), b.c_str()) < 0;
  });
  return names;
}

std::string Tree::Resolve(const std::string& path) const {
  std::deque<std::string> left = absl::StrSplit(path, '/', absl::SkipEmpty());
  std::vector<std::string> done;
  int links = 0;
  while (!left.empty()) {
    const std::string name = left.front();
    left.pop_front();
    if (name == ".") continue;
    if (name == "..") {
      if (!done.empty()) done.pop_back();
      continue;
    }
    done.push_back(name);
    char target[PATH_MAX];
    const std::string here = absl::StrCat(root_, "/", absl::StrJoin(done, "/"));
    const ssize_t bytes = readlink(here.c_str(), target, sizeof(target));
    if (bytes <= 0 || ++links > kLinksMax) continue;
    const absl::string_view to(target, static_cast<size_t>(bytes));
    done.pop_back();
    if (to[0] == '/') done.clear();
    const std::vector<std::string> parts = absl::StrSplit(to, '/', absl::SkipEmpty());
    left.insert(left.begin(), parts.begin(), parts.end());
  }
  return absl::StrCat("/", absl::StrJoin(done, "/"));
}

absl::Status Tree::Write(const std::string& path, const std::string& value) const {
  // A copy of a machine is made of plain files, which O_TRUNC empties; it means nothing to the
  // kernel's own.
  const int fd = open(OnDisk(path).c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
  if (fd < 0) return FromErrno(errno);
  const auto close_fd = absl::MakeCleanup([fd] { close(fd); });
  const std::string line = absl::StrCat(value, "\n");
  const ssize_t written = write(fd, line.data(), line.size());
  if (written < 0) return FromErrno(errno);
  if (static_cast<size_t>(written) != line.size()) return absl::DataLossError("a short write");
  return absl::OkStatus();
}

}  // namespace ringtail::tune
