// A file system that does what another directory does, until it is told to fail: for tests of how
// the shipped broker meets a bad disk, through a real kernel.
//
//   faulty_fs [--writeback] SOURCE MOUNT_POINT
//
// Says `ready` once it is mounted; then takes a command a line on stdin and answers each with one:
//
//   fail CALL ERROR GLOB [FIRST LAST]   from now on, CALLs of files that GLOB fits get ERROR (a
//   number);
//                                       for read, write and allocate only those that touch [FIRST,
//                                       LAST)
//   hang CALL GLOB                      they wait instead, until the rules are cleared
//   clear                               no rules any more; what hangs goes on
//   hits                                `ok N`: how many calls rules have met so far
//
// CALL: read, write, sync, allocate, create or any. GLOB is of fnmatch(3), over the path below
// SOURCE; '*' fits
// '/', too. It ends, and unmounts, when stdin does.
//
// Writes go through to SOURCE one by one, so that their errors are those of write(2). With
// --writeback they stay in the kernel's page cache, as on a disk's file system: errors show when it
// is synced.

#define FUSE_USE_VERSION 312

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <fuse3/fuse.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <condition_variable>
#include <iostream>
#include <limits>
#include <memory>
#include <mutex>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace {

struct Rule {
  std::string call;
  int error = 0;  // 0: hang
  std::string glob;
  int64_t first = 0;
  int64_t last = std::numeric_limits<int64_t>::max();
};

// An open file, and its name of the moment.
struct File {
  int fd = -1;
  std::string path;
};

class Faults {
 public:
  void Add(Rule rule) {
    std::lock_guard lock(mutex_);
    rules_.push_back(std::move(rule));
  }
  void Clear() {
    std::lock_guard lock(mutex_);
    rules_.clear();
    ++cleared_;
    changed_.notify_all();
  }
  int64_t hits() {
    std::lock_guard lock(mutex_);
    return hits_;
  }

  // What a call that touches [at, at + size) meets: 0, or the negated error. May wait.
  int Meet(const char* call, const std::string& path, int64_t at = 0, int64_t size = 0) {
    std::unique_lock lock(mutex_);
    for (const Rule& rule : rules_) {
      if (rule.call != call && rule.call != "any") continue;
      if (fnmatch(rule.glob.c_str(), path.c_str(), 0) != 0) continue;
      if (size > 0 && (at + size <= rule.first || at >= rule.last)) continue;
      ++hits_;
      if (rule.error != 0) return -rule.error;
      changed_.wait(lock, [this, now = cleared_] { return cleared_ != now; });
      return 0;
    }
    return 0;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Rule> rules_;
  int64_t cleared_ = 0;
  int64_t hits_ = 0;
};

class OpenFiles {
 public:
  File* Add(int fd, const char* path) {
    auto* file = new File{fd, path};
    std::lock_guard lock(mutex_);
    files_.insert(file);
    return file;
  }
  void Remove(File* file) {
    {
      std::lock_guard lock(mutex_);
      files_.erase(file);
    }
    close(file->fd);
    delete file;
  }
  std::string PathOf(const File* file) {
    std::lock_guard lock(mutex_);
    return file->path;
  }
  void Rename(const std::string& from, const std::string& to) {
    std::lock_guard lock(mutex_);
    for (File* file : files_) {
      if (file->path == from || file->path.rfind(from + "/", 0) == 0) {
        file->path = to + file->path.substr(from.size());
      }
    }
  }

 private:
  std::mutex mutex_;
  std::set<File*> files_;
};

int source = -1;  // the directory that this one shows
bool writeback = false;
Faults faults;
OpenFiles open_files;

const char* Relative(const char* path) { return path[1] == 0 ? "." : path + 1; }
int Negated(int result) { return result < 0 ? -errno : 0; }
File* FileOf(const fuse_file_info* info) { return reinterpret_cast<File*>(info->fh); }

void* Init(fuse_conn_info* connection, fuse_config* config) {
  config->use_ino = 1;
  config->nullpath_ok = 1;
  config->hard_remove = 1;
  // The kernel is told of every change, as it makes them all.
  config->entry_timeout = config->attr_timeout = 3600;
  config->negative_timeout = 0;
  if (writeback) connection->want |= connection->capable & FUSE_CAP_WRITEBACK_CACHE;
  return nullptr;
}

int GetAttr(const char* path, struct stat* result, fuse_file_info* info) {
  if (info != nullptr) return Negated(fstat(FileOf(info)->fd, result));
  return Negated(fstatat(source, Relative(path), result, AT_SYMLINK_NOFOLLOW));
}

// The cache reads whole pages of files that are open for writing alone, and places what is
// appended.
int SourceFlags(int flags) {
  flags &= ~(O_DIRECT | O_APPEND | O_NOFOLLOW);
  if ((flags & O_ACCMODE) == O_WRONLY) flags = (flags & ~O_ACCMODE) | O_RDWR;
  return flags;
}

int Keep(int fd, const char* path, fuse_file_info* info) {
  if (fd < 0) return -errno;
  info->fh = reinterpret_cast<uint64_t>(open_files.Add(fd, Relative(path)));
  info->keep_cache = 1;
  return 0;
}

int Open(const char* path, fuse_file_info* info) {
  return Keep(openat(source, Relative(path), SourceFlags(info->flags)), path, info);
}

int Create(const char* path, mode_t mode, fuse_file_info* info) {
  const std::string name = Relative(path);
  if (const int error = faults.Meet("create", name); error != 0) return error;
  return Keep(openat(source, name.c_str(), SourceFlags(info->flags) | O_CREAT, mode), path, info);
}

int Release(const char*, fuse_file_info* info) {
  open_files.Remove(FileOf(info));
  return 0;
}

int Read(const char*, char* data, size_t size, off_t at, fuse_file_info* info) {
  const File* file = FileOf(info);
  const int error = faults.Meet("read", open_files.PathOf(file), at, static_cast<int64_t>(size));
  if (error != 0) return error;
  const ssize_t done = pread(file->fd, data, size, at);
  return done < 0 ? -errno : static_cast<int>(done);
}

int Write(const char*, const char* data, size_t size, off_t at, fuse_file_info* info) {
  const File* file = FileOf(info);
  const int error = faults.Meet("write", open_files.PathOf(file), at, static_cast<int64_t>(size));
  if (error != 0) return error;
  const ssize_t done = pwrite(file->fd, data, size, at);
  return done < 0 ? -errno : static_cast<int>(done);
}

int Sync(const char*, int only_data, fuse_file_info* info) {
  const File* file = FileOf(info);
  const int error = faults.Meet("sync", open_files.PathOf(file));
  if (error != 0) return error;
  return Negated(only_data != 0 ? fdatasync(file->fd) : fsync(file->fd));
}

int Allocate(const char*, int mode, off_t at, off_t size, fuse_file_info* info) {
  const File* file = FileOf(info);
  const int error = faults.Meet("allocate", open_files.PathOf(file), at, size);
  return error != 0 ? error : Negated(fallocate(file->fd, mode, at, size));
}

int Truncate(const char* path, off_t size, fuse_file_info* info) {
  if (info != nullptr) return Negated(ftruncate(FileOf(info)->fd, size));
  const int fd = openat(source, Relative(path), O_WRONLY);
  if (fd < 0) return -errno;
  const int result = Negated(ftruncate(fd, size));
  close(fd);
  return result;
}

int OpenDir(const char* path, fuse_file_info* info) {
  return Keep(openat(source, Relative(path), O_RDONLY | O_DIRECTORY), path, info);
}

int ReadDir(const char*, void* buffer, fuse_fill_dir_t fill, off_t, fuse_file_info* info,
            fuse_readdir_flags) {
  DIR* dir = fdopendir(openat(FileOf(info)->fd, ".", O_RDONLY | O_DIRECTORY));
  if (dir == nullptr) return -errno;
  while (const dirent* entry = readdir(dir)) {
    struct stat known{};
    known.st_ino = entry->d_ino;
    known.st_mode = DTTOIF(entry->d_type);
    if (fill(buffer, entry->d_name, &known, 0, fuse_fill_dir_flags{}) != 0) break;
  }
  closedir(dir);
  return 0;
}

int MakeDir(const char* path, mode_t mode) {
  return Negated(mkdirat(source, Relative(path), mode));
}
int Unlink(const char* path) { return Negated(unlinkat(source, Relative(path), 0)); }
int RemoveDir(const char* path) { return Negated(unlinkat(source, Relative(path), AT_REMOVEDIR)); }

int Rename(const char* from, const char* to, unsigned flags) {
  if (renameat2(source, Relative(from), source, Relative(to), flags) < 0) return -errno;
  open_files.Rename(Relative(from), Relative(to));
  return 0;
}

int Link(const char* from, const char* to) {
  return Negated(linkat(source, Relative(from), source, Relative(to), 0));
}
int ChangeMode(const char* path, mode_t mode, fuse_file_info*) {
  return Negated(fchmodat(source, Relative(path), mode, 0));
}
int SetTimes(const char* path, const timespec times[2], fuse_file_info* info) {
  if (info != nullptr) return Negated(futimens(FileOf(info)->fd, times));
  return Negated(utimensat(source, Relative(path), times, AT_SYMLINK_NOFOLLOW));
}
int StatFs(const char*, struct statvfs* result) { return Negated(fstatvfs(source, result)); }

fuse_operations Operations() {
  fuse_operations to{};
  to.init = Init;
  to.getattr = GetAttr;
  to.open = Open;
  to.create = Create;
  to.release = Release;
  to.read = Read;
  to.write = Write;
  to.fsync = Sync;
  to.fallocate = Allocate;
  to.truncate = Truncate;
  to.opendir = OpenDir;
  to.readdir = ReadDir;
  to.releasedir = Release;
  to.fsyncdir = Sync;
  to.mkdir = MakeDir;
  to.unlink = Unlink;
  to.rmdir = RemoveDir;
  to.rename = Rename;
  to.link = Link;
  to.chmod = ChangeMode;
  to.utimens = SetTimes;
  to.statfs = StatFs;
  return to;
}

// The answer to one command line.
std::string Answer(const std::string& line) {
  std::istringstream words(line);
  std::string command;
  words >> command;
  if (command == "clear") {
    faults.Clear();
    return "ok";
  }
  if (command == "hits") return "ok " + std::to_string(faults.hits());
  Rule rule;
  const bool fails = command == "fail";
  if (!fails && command != "hang") return "unknown command: " + line;
  words >> rule.call;
  if (fails) words >> rule.error;
  words >> rule.glob;
  if (words.fail() || (fails && rule.error <= 0)) return "expected CALL [ERROR] GLOB: " + line;
  int64_t first = 0;
  int64_t last = 0;
  if (words >> first >> last) {
    rule.first = first;
    rule.last = last;
  }
  faults.Add(std::move(rule));
  return "ok";
}

void TakeCommands(std::string mount_point) {
  std::string line;
  while (std::getline(std::cin, line)) std::cout << Answer(line) << std::endl;
  faults.Clear();
  // The session ends when the kernel says that nobody uses it any more.
  umount2(mount_point.c_str(), MNT_DETACH);
}

}  // namespace

int main(int argc, char** argv) {
  writeback = argc == 4 && strcmp(argv[1], "--writeback") == 0;
  if (argc != (writeback ? 4 : 3)) {
    fprintf(stderr, "usage: faulty_fs [--writeback] SOURCE MOUNT_POINT\n");
    return 2;
  }
  const char* mount_point = argv[argc - 1];
  source = open(argv[argc - 2], O_RDONLY | O_DIRECTORY);
  if (source < 0) {
    perror(argv[argc - 2]);
    return 1;
  }
  fuse_args args = FUSE_ARGS_INIT(0, nullptr);
  fuse_opt_add_arg(&args, argv[0]);
  fuse_opt_add_arg(&args, "-ofsname=faulty_fs,default_permissions");
  const fuse_operations operations = Operations();
  fuse* session = fuse_new(&args, &operations, sizeof operations, nullptr);
  if (session == nullptr || fuse_mount(session, mount_point) != 0) {
    fprintf(stderr, "faulty_fs: cannot mount at %s; it takes /dev/fuse and root or fusermount3\n",
            mount_point);
    return 1;
  }
  std::cout << "ready" << std::endl;
  std::thread(TakeCommands, std::string(mount_point)).detach();
  fuse_loop_config* config = fuse_loop_cfg_create();
  fuse_loop_cfg_set_max_threads(config, 64);  // as many calls can hang before all do
  fuse_loop_mt(session, config);
  _exit(0);  // the thread of commands may still wait for a line
}
