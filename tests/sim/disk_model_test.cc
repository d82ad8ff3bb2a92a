// The simulated file system against the one that this test runs on: random operations on both,
// every result, every errno and all contents compared.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>

#include "gtest/gtest.h"
#include "tests/sim/disk.h"
#include "tests/sim/seeds.h"

namespace ringtail::sim {
namespace {

constexpr int64_t kFileBytesMax = 40'000;

// One random history on both.
class Model {
 public:
  Model(uint64_t seed, std::string root)
      : rng_(seed), root_(std::move(root)), disk_(DiskOptions(), Rng(seed)) {
    std::filesystem::remove_all(root_);
    std::filesystem::create_directories(root_);
  }
  ~Model() {
    for (const Pair& pair : open_) close(pair.real);
    std::filesystem::remove_all(root_);
  }

  void Step() {
    switch (rng_.Below(16)) {
      case 0:
      case 1:
      case 2:
        return Open();
      case 3:
        return Close();
      case 4:
      case 5:
      case 6:
        return Write();
      case 7:
      case 8:
        return Read();
      case 9:
        return Truncate();
      case 10:
        return Allocate();
      case 11:
        return Unlink();
      case 12:
        return Rename();
      case 13:
        return MakeDirectory();
      case 14:
        return RemoveDirectory();
      default:
        return Keep();
    }
  }

  void CompareAll() {
    EXPECT_EQ(disk_.Tree(), RealTree()) << Log();
    for (const std::string& path : files_) {
      EXPECT_EQ(*disk_.Content(path), ReadReal(root_ + path)) << path << Log();
    }
  }
  const std::string& Log() const { return log_; }

 private:
  struct Pair {
    InodeId simulated;
    int real;
    bool writable;
  };

  std::string Path() {
    static constexpr const char* kNames[] = {"a", "b", "c"};
    std::string path;
    for (uint64_t i = 0, depth = 1 + rng_.Below(3); i < depth; ++i) {
      path += std::string("/") + kNames[rng_.Below(3)];
    }
    return path;
  }
  void Same(const std::string& what, int64_t simulated, int64_t real) {
    const int64_t error = -errno;
    log_ += what + " ";
    if (log_.size() > 3000) log_.erase(0, 1000);
    EXPECT_EQ(simulated, real < 0 ? error : real) << log_;
  }

  void Open() {
    static constexpr int kFlags[] = {O_RDONLY,
                                     O_RDWR,
                                     O_RDWR | O_CREAT,
                                     O_WRONLY | O_CREAT | O_EXCL,
                                     O_RDWR | O_CREAT | O_TRUNC,
                                     O_RDONLY | O_DIRECTORY};
    const int flags = kFlags[rng_.Below(6)];
    const std::string path = Path();
    const int64_t simulated = disk_.Open(path, flags, 0);
    const int real = open((root_ + path).c_str(), flags, 0644);
    Same("open " + path + " " + std::to_string(flags), std::min<int64_t>(simulated, 0),
         std::min(real, 0));
    if (simulated < 0 || real < 0) return;
    struct stat info;
    fstat(real, &info);
    if (S_ISDIR(info.st_mode) || open_.size() > 8) {
      disk_.Close(static_cast<InodeId>(simulated));
      close(real);
      return;
    }
    open_.push_back({static_cast<InodeId>(simulated), real, (flags & O_ACCMODE) == O_RDWR});
  }
  Pair* Any() { return open_.empty() ? nullptr : &open_[rng_.Below(open_.size())]; }
  Pair* AnyWritable() {
    Pair* pair = Any();
    return pair != nullptr && pair->writable ? pair : nullptr;
  }
  void Close() {
    if (open_.empty()) return;
    const size_t at = rng_.Below(open_.size());
    disk_.Close(open_[at].simulated);
    close(open_[at].real);
    open_.erase(open_.begin() + static_cast<int64_t>(at));
  }
  void Write() {
    const Pair* pair = AnyWritable();
    if (pair == nullptr) return;
    const int64_t position = rng_.Between(0, kFileBytesMax);
    std::string bytes(static_cast<size_t>(rng_.Between(0, 9000)), '\0');
    for (char& byte : bytes) byte = static_cast<char>(rng_.Next());
    const size_t first = rng_.Below(bytes.size() + 1);
    const iovec vectors[2] = {{bytes.data(), first}, {bytes.data() + first, bytes.size() - first}};
    Same("write", disk_.Write(pair->simulated, vectors, 2, position, 0),
         pwritev(pair->real, vectors, 2, position));
  }
  void Read() {
    const Pair* pair = AnyWritable();
    if (pair == nullptr) return;
    const int64_t position = rng_.Between(0, kFileBytesMax + 10'000);
    std::string one(static_cast<size_t>(rng_.Between(0, 9000)), 'x'), other(one);
    const iovec to{one.data(), one.size()};
    Same("read", disk_.Read(pair->simulated, &to, 1, position, rng_.Chance(0.3), rng_.Chance(0.3)),
         pread(pair->real, other.data(), other.size(), position));
    EXPECT_EQ(one, other) << log_;
  }
  void Truncate() {
    const Pair* pair = AnyWritable();
    if (pair == nullptr) return;
    const int64_t size = rng_.Between(-1, kFileBytesMax);
    Same("truncate " + std::to_string(size), disk_.Truncate(pair->simulated, size, 0),
         ftruncate(pair->real, size));
  }
  void Allocate() {
    const Pair* pair = AnyWritable();
    if (pair == nullptr) return;
    const int64_t position = rng_.Between(0, kFileBytesMax);
    const int64_t length = rng_.Between(0, 9000);
    const int result = fallocate(pair->real, 0, position, length);
    if (result < 0 && errno == EOPNOTSUPP) return;
    Same("allocate", disk_.Allocate(pair->simulated, position, length, 0), result);
  }
  void Unlink() {
    const std::string path = Path();
    Same("unlink " + path, disk_.Unlink(path), unlink((root_ + path).c_str()));
  }
  void Rename() {
    const std::string from = Path(), to = Path();
    Same("rename " + from + " " + to, disk_.Rename(from, to),
         rename((root_ + from).c_str(), (root_ + to).c_str()));
  }
  void MakeDirectory() {
    const std::string path = Path();
    Same("mkdir " + path, disk_.MakeDirectory(path, 0), mkdir((root_ + path).c_str(), 0755));
  }
  void RemoveDirectory() {
    const std::string path = Path();
    Same("rmdir " + path, disk_.RemoveDirectory(path), rmdir((root_ + path).c_str()));
  }
  // What changes durability only must never be seen by readers.
  void Keep() {
    if (const Pair* pair = Any()) {
      if (rng_.Chance(0.5)) disk_.FinishSync(disk_.StartSync(pair->simulated));
      disk_.WriteBack(pair->simulated, 0, 0);
      disk_.DropCache(pair->simulated, 0, 0);
    }
    if (rng_.Chance(0.1)) disk_.SyncEverything();
    disk_.MakeCold("/");
  }

  std::string RealTree() {
    std::map<std::vector<std::string>, std::string> lines;
    files_.clear();
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root_)) {
      const std::string path = entry.path().string().substr(root_.size());
      std::vector<std::string> parts;
      for (const auto& part : std::filesystem::path(path)) parts.push_back(part.string());
      lines[parts] = entry.is_directory() ? path + "/\n"
                                          : path + " " + std::to_string(entry.file_size()) + "\n";
      if (!entry.is_directory()) files_.push_back(path);
    }
    std::string text;
    for (const auto& [parts, line] : lines) text += line;
    return text;
  }
  static std::string ReadReal(const std::string& path) {
    const int fd = open(path.c_str(), O_RDONLY);
    std::string content(static_cast<size_t>(lseek(fd, 0, SEEK_END)), '\0');
    EXPECT_EQ(pread(fd, content.data(), content.size(), 0), static_cast<ssize_t>(content.size()));
    close(fd);
    return content;
  }

  Rng rng_;
  std::string root_;
  SimDisk disk_;
  std::vector<Pair> open_;
  std::vector<std::string> files_;
  std::string log_;
};

TEST(DiskModelTest, BehavesAsTheRealFileSystem) {
  const char* directory = std::getenv("TEST_TMPDIR");
  const std::string root = std::string(directory == nullptr ? "/tmp" : directory) + "/model";
  ForSeeds(150, [&](uint64_t seed) {
    Model model(seed, root);
    for (int i = 0; i < 250 && !testing::Test::HasFailure(); ++i) {
      model.Step();
      if (i % 50 == 49) model.CompareAll();
    }
  });
}

}  // namespace
}  // namespace ringtail::sim
