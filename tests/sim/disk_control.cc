// SimDisk: what tests do to a disk behind the back of the system under test.
#include <fcntl.h>

#include <algorithm>
#include <cstring>

#include "engine/base/check.h"
#include "tests/sim/disk.h"

namespace ringtail::sim {

void SimDisk::MakeCold(absl::string_view path) {
  const int64_t found = Lookup(path);
  if (found < 0) return;
  const auto id = static_cast<InodeId>(found);
  if (!at(id).is_directory) return DropCache(id, 0, 0);
  for (const auto& [name, child] : std::map(at(id).entries)) {
    MakeCold(std::string(path) + "/" + name);
  }
}

bool SimDisk::Corrupt(absl::string_view path, int64_t position, int64_t length, FaultKind kind) {
  const int64_t id = Lookup(path);
  if (id < 0 || position + length > at(static_cast<InodeId>(id)).size) return false;
  Inode& inode = at(static_cast<InodeId>(id));
  const int64_t flipped =
      position + static_cast<int64_t>(rng_.Below(static_cast<uint64_t>(length)));
  for (int64_t i = position; i < position + length; ++i) {
    Page& page = inode.pages[i / kPageBytes];
    page.durable.resize(kPageBytes);
    uint8_t& byte = page.durable[static_cast<size_t>(i % kPageBytes)];
    if (kind == FaultKind::kZeroed) byte = 0;
    if (kind == FaultKind::kBitFlip && i == flipped) byte ^= 1u << rng_.Below(8);
    if (page.dirty == 0) page.resident = false;
  }
  UpdateMappings(inode, position, length);
  return true;
}

bool SimDisk::Overwrite(absl::string_view path, int64_t position, absl::string_view bytes) {
  const int64_t id = Lookup(path);
  const auto length = static_cast<int64_t>(bytes.size());
  if (id < 0 || position + length > at(static_cast<InodeId>(id)).size) return false;
  Inode& inode = at(static_cast<InodeId>(id));
  for (int64_t i = 0; i < length; ++i) {
    Page& page = inode.pages[(position + i) / kPageBytes];
    page.durable.resize(kPageBytes);
    page.durable[static_cast<size_t>((position + i) % kPageBytes)] =
        static_cast<uint8_t>(bytes[static_cast<size_t>(i)]);
    if (page.dirty == 0) page.resident = false;
  }
  UpdateMappings(inode, position, length);
  return true;
}

std::optional<std::string> SimDisk::DurableContent(absl::string_view path) const {
  SimDisk copy(*this);
  copy.PowerCut({PowerCutPolicy::kNone});
  return copy.Content(path);
}

void SimDisk::Put(absl::string_view path, absl::string_view content) {
  for (size_t i = 1; i < path.size(); ++i) {
    if (path[i] == '/') MakeDirectory(path.substr(0, i), 0);
  }
  const int64_t id = Open(path, O_CREAT | O_TRUNC | O_WRONLY, 0);
  RT_CHECK(id > 0);
  const iovec vector{const_cast<char*>(content.data()), content.size()};
  RT_CHECK(Write(static_cast<InodeId>(id), &vector, 1, 0, 0) ==
           static_cast<int64_t>(content.size()));
  Close(static_cast<InodeId>(id));
  SyncEverything();
}

void SimDisk::SyncEverything() {
  for (const MetaOp& op : pending_) Apply(op);
  pending_.clear();
  std::vector<InodeId> files;
  for (const auto& [id, inode] : inodes_) {
    if (!inode.is_directory) files.push_back(id);
  }
  for (const InodeId id : files) FinishSync(StartSync(id));
  DropUnreachable();
}

}  // namespace ringtail::sim
