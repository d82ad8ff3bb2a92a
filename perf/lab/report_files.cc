#include "perf/lab/report_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "perf/lab/json.h"
#include "perf/lib/check.h"

namespace ringtail::lab {
namespace {

// A run of everything takes less than one.
constexpr size_t kFileBytesMax = 64 << 20;

class File {
 public:
  File(const std::string& path, int flags)
      : fd_(perf::CheckCall(open(path.c_str(), flags | O_CLOEXEC, 0666), path.c_str())) {}
  ~File() { close(fd_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  int fd() const { return fd_; }

 private:
  int fd_;
};

std::string ReadText(const std::string& path) {
  const File file(path, O_RDONLY);
  std::string text;
  char chunk[64 << 10];
  while (true) {
    const ssize_t count = perf::CheckCall(read(file.fd(), chunk, sizeof(chunk)), path.c_str());
    if (count == 0) return text;
    text.append(chunk, static_cast<size_t>(count));
    perf::Require(text.size() <= kFileBytesMax,
                  absl::StrCat(path, ": expected at most ", kFileBytesMax, " bytes, came more"));
  }
}

}  // namespace

LabResult ReadResult(const std::string& file) {
  const std::string text = ReadText(file);
  try {
    return FromJson(text);
  } catch (const std::runtime_error& error) {
    throw std::runtime_error(absl::StrCat(file, ": ", error.what()));
  }
}

void WriteWhole(const std::string& file, const std::string& text) {
  const std::string beside = absl::StrCat(file, ".tmp");
  try {
    const File out(beside, O_WRONLY | O_CREAT | O_TRUNC);
    for (size_t done = 0; done < text.size();) {
      done += static_cast<size_t>(
          perf::CheckCall(write(out.fd(), text.data() + done, text.size() - done), beside.c_str()));
    }
    perf::CheckCall(rename(beside.c_str(), file.c_str()), file.c_str());
  } catch (const std::system_error&) {
    unlink(beside.c_str());
    throw;
  }
}

}  // namespace ringtail::lab
