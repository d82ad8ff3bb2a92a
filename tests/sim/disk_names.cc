// SimDisk: the tree of names as the running system sees it.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/base/check.h"
#include "engine/base/crc32c.h"
#include "tests/sim/disk.h"

namespace ringtail::sim {
namespace {

constexpr size_t kNameBytesMax = 255;

std::vector<std::string> Parts(absl::string_view path) {
  std::vector<std::string> parts;
  for (absl::string_view part : absl::StrSplit(path, '/', absl::SkipEmpty())) {
    if (part == ".") continue;
    if (part == "..") {
      if (!parts.empty()) parts.pop_back();
      continue;
    }
    parts.emplace_back(part);
  }
  return parts;
}

}  // namespace

SimDisk::SimDisk(const DiskOptions& options, Rng rng) : options_(options), rng_(rng) {
  inodes_[kRoot].is_directory = true;
}

SimDisk::SimDisk(const SimDisk& other)
    : options_(other.options_),
      rng_(other.rng_),
      inodes_(other.inodes_),
      next_inode_(other.next_inode_),
      pending_(other.pending_),
      meta_seq_(other.meta_seq_),
      sync_started_seq_(other.sync_started_seq_),
      write_order_(other.write_order_),
      used_pages_(other.used_pages_) {
  for (auto& [id, inode] : inodes_) {
    inode.mappings.clear();
    inode.opens = 0;
    Release(id);
  }
}

SimDisk::~SimDisk() {
  for (auto& [id, inode] : inodes_) {
    for (const Mapping& mapping : inode.mappings) std::free(mapping.data);
  }
}

SimDisk::Inode& SimDisk::at(InodeId id) {
  const auto found = inodes_.find(id);
  RT_CHECK(found != inodes_.end());
  return found->second;
}

const SimDisk::Inode& SimDisk::at(InodeId id) const {
  const auto found = inodes_.find(id);
  RT_CHECK(found != inodes_.end());
  return found->second;
}

int64_t SimDisk::Lookup(absl::string_view path) const {
  InodeId id = kRoot;
  for (const std::string& part : Parts(path)) {
    const Inode& inode = at(id);
    if (!inode.is_directory) return -ENOTDIR;
    if (part.size() > kNameBytesMax) return -ENAMETOOLONG;
    const auto found = inode.entries.find(part);
    if (found == inode.entries.end()) return -ENOENT;
    id = found->second;
  }
  return static_cast<int64_t>(id);
}

int64_t SimDisk::Parent(absl::string_view path, std::string* name) const {
  const std::vector<std::string> parts = Parts(path);
  if (parts.empty()) return -EBUSY;
  *name = parts.back();
  if (name->size() > kNameBytesMax) return -ENAMETOOLONG;
  std::string parent;
  for (size_t i = 0; i + 1 < parts.size(); ++i) absl::StrAppend(&parent, "/", parts[i]);
  const int64_t id = Lookup(parent);
  if (id >= 0 && !at(static_cast<InodeId>(id)).is_directory) return -ENOTDIR;
  return id;
}

InodeId SimDisk::NewInode(bool is_directory, int64_t now_ms) {
  const InodeId id = next_inode_++;
  Inode& inode = inodes_[id];
  inode.is_directory = is_directory;
  inode.modified_ms = now_ms;
  return id;
}

int64_t SimDisk::Open(absl::string_view path, int flags, int64_t now_ms) {
  int64_t id = Lookup(path);
  const bool writes = (flags & O_ACCMODE) != O_RDONLY;
  if (id >= 0) {
    if ((flags & O_CREAT) && (flags & O_EXCL)) return -EEXIST;
    const Inode& inode = at(static_cast<InodeId>(id));
    if (inode.is_directory && (writes || (flags & O_CREAT))) return -EISDIR;
    if (!inode.is_directory && (flags & O_DIRECTORY)) return -ENOTDIR;
    if (flags & O_TRUNC) Truncate(static_cast<InodeId>(id), 0, now_ms);
  } else {
    if (id != -ENOENT || !(flags & O_CREAT)) return id;
    std::string name;
    const int64_t parent = Parent(path, &name);
    if (parent < 0) return parent;
    const auto directory = static_cast<InodeId>(parent);
    id = static_cast<int64_t>(NewInode(false, now_ms));
    at(directory).entries[name] = static_cast<InodeId>(id);
    at(directory).modified_ms = now_ms;
    Note({MetaOp::kLink, 0, static_cast<InodeId>(id), directory, name, 0, {}, 0, 0});
  }
  ++at(static_cast<InodeId>(id)).opens;
  return id;
}

void SimDisk::Reopen(InodeId id) {
  Inode& inode = at(id);
  RT_CHECK(inode.opens > 0);
  ++inode.opens;
}

void SimDisk::Close(InodeId id) {
  Inode& inode = at(id);
  RT_CHECK(inode.opens > 0);
  --inode.opens;
  Release(id);
}

void SimDisk::Release(InodeId id) {
  Inode& inode = at(id);
  if (inode.linked || inode.opens > 0) return;
  for (auto& [index, page] : inode.pages) {
    if (page.allocated) --used_pages_;
    page.allocated = false;
  }
}

int SimDisk::Unlink(absl::string_view path) {
  std::string name;
  const int64_t parent = Parent(path, &name);
  if (parent < 0) return static_cast<int>(parent);
  const int64_t id = Lookup(path);
  if (id < 0) return static_cast<int>(id);
  Inode& inode = at(static_cast<InodeId>(id));
  if (inode.is_directory) return -EISDIR;
  at(static_cast<InodeId>(parent)).entries.erase(name);
  inode.linked = false;
  Note({MetaOp::kUnlink,
        0,
        static_cast<InodeId>(id),
        static_cast<InodeId>(parent),
        name,
        0,
        {},
        0,
        0});
  Release(static_cast<InodeId>(id));
  return 0;
}

int SimDisk::RemoveDirectory(absl::string_view path) {
  std::string name;
  const int64_t parent = Parent(path, &name);
  if (parent < 0) return static_cast<int>(parent);
  const int64_t id = Lookup(path);
  if (id < 0) return static_cast<int>(id);
  Inode& inode = at(static_cast<InodeId>(id));
  if (!inode.is_directory) return -ENOTDIR;
  if (!inode.entries.empty()) return -ENOTEMPTY;
  at(static_cast<InodeId>(parent)).entries.erase(name);
  inode.linked = false;
  Note({MetaOp::kUnlink,
        0,
        static_cast<InodeId>(id),
        static_cast<InodeId>(parent),
        name,
        0,
        {},
        0,
        0});
  return 0;
}

int SimDisk::MakeDirectory(absl::string_view path, int64_t now_ms) {
  if (Lookup(path) >= 0) return -EEXIST;
  std::string name;
  const int64_t parent = Parent(path, &name);
  if (parent < 0) return static_cast<int>(parent);
  const InodeId id = NewInode(true, now_ms);
  at(static_cast<InodeId>(parent)).entries[name] = id;
  Note({MetaOp::kLink, 0, id, static_cast<InodeId>(parent), name, 0, {}, 0, 0});
  return 0;
}

bool SimDisk::IsBelow(InodeId id, InodeId ancestor) const {
  if (id == ancestor) return true;
  for (const auto& [name, child] : at(ancestor).entries) {
    if (at(child).is_directory && IsBelow(id, child)) return true;
  }
  return false;
}

int SimDisk::Rename(absl::string_view from, absl::string_view to) {
  std::string name, name2;
  const int64_t parent = Parent(from, &name);
  if (parent < 0) return static_cast<int>(parent);
  const int64_t parent2 = Parent(to, &name2);
  if (parent2 < 0) return static_cast<int>(parent2);
  const int64_t id = Lookup(from);
  if (id < 0) return static_cast<int>(id);
  const int64_t replaced = Lookup(to);
  if (replaced == id) return 0;
  Inode& moved = at(static_cast<InodeId>(id));
  if (moved.is_directory && IsBelow(static_cast<InodeId>(parent2), static_cast<InodeId>(id))) {
    return -EINVAL;
  }
  if (replaced >= 0) {
    Inode& old = at(static_cast<InodeId>(replaced));
    if (old.is_directory && IsBelow(static_cast<InodeId>(parent), static_cast<InodeId>(replaced))) {
      return -ENOTEMPTY;
    }
    if (moved.is_directory && !old.is_directory) return -ENOTDIR;
    if (!moved.is_directory && old.is_directory) return -EISDIR;
    if (old.is_directory && !old.entries.empty()) return -ENOTEMPTY;
    old.linked = false;
  }
  at(static_cast<InodeId>(parent)).entries.erase(name);
  at(static_cast<InodeId>(parent2)).entries[name2] = static_cast<InodeId>(id);
  Note({MetaOp::kRename, 0, static_cast<InodeId>(id), static_cast<InodeId>(parent), name,
        static_cast<InodeId>(parent2), name2, 0, 0});
  if (replaced >= 0) Release(static_cast<InodeId>(replaced));
  return 0;
}

int SimDisk::Info(InodeId id, io::FileInfo* info) const {
  const Inode& inode = at(id);
  info->size_bytes = inode.is_directory ? kPageBytes : inode.size;
  info->allocated_bytes =
      kPageBytes * std::count_if(inode.pages.begin(), inode.pages.end(),
                                 [](const auto& entry) { return entry.second.allocated; });
  info->modified_ms = inode.modified_ms;
  info->is_directory = inode.is_directory;
  return 0;
}

int SimDisk::List(absl::string_view path, std::vector<io::DirectoryEntry>* entries) const {
  const int64_t id = Lookup(path);
  if (id < 0) return static_cast<int>(id);
  const Inode& inode = at(static_cast<InodeId>(id));
  if (!inode.is_directory) return -ENOTDIR;
  for (const auto& [name, child] : inode.entries) {
    entries->push_back({name, at(child).is_directory});
  }
  return 0;
}

io::DiskSpace SimDisk::Space() const {
  const int64_t available = options_.capacity_bytes - used_pages_ * kPageBytes;
  return {options_.capacity_bytes, std::max<int64_t>(0, available)};
}

template <class Visit>
void SimDisk::VisitTree(const Visit& visit) const {
  std::vector<std::pair<std::string, InodeId>> left = {{"", kRoot}};
  while (!left.empty()) {
    const auto [path, id] = left.back();
    left.pop_back();
    const Inode& inode = at(id);
    if (id != kRoot) visit(path, inode);
    for (auto entry = inode.entries.rbegin(); entry != inode.entries.rend(); ++entry) {
      left.emplace_back(absl::StrCat(path, "/", entry->first), entry->second);
    }
  }
}

std::string SimDisk::Tree() const {
  std::string text;
  VisitTree([&](const std::string& path, const Inode& inode) {
    absl::StrAppend(&text, path, inode.is_directory ? "/" : absl::StrCat(" ", inode.size), "\n");
  });
  return text;
}

uint64_t SimDisk::ContentHash() const {
  uint64_t hash = 0;
  VisitTree([&](const std::string& path, const Inode& inode) {
    const auto mix = [&hash](absl::string_view text) {
      hash = hash * 0x9e3779b97f4a7c15ull + base::Crc32c(base::AsBytes(text)) + text.size();
    };
    mix(path);
    if (!inode.is_directory) mix(*Content(path));
  });
  return hash;
}

}  // namespace ringtail::sim
