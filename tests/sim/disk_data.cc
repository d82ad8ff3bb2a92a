// SimDisk: the bytes of files, as the running system sees them.
#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "engine/base/check.h"
#include "tests/sim/disk.h"

namespace ringtail::sim {

SimDisk::Page& SimDisk::Load(Inode& inode, int64_t index) {
  Page& page = inode.pages[index];
  if (!page.resident) {
    page.cache = page.durable;
    page.resident = true;
  }
  return page;
}

// Space for the pages of a write; shortens *length where there is not enough for all.
bool SimDisk::Reserve(Inode& inode, int64_t position, int64_t* length) {
  const int64_t available = options_.capacity_bytes / kPageBytes;
  const int64_t end = position + *length;
  for (int64_t index = position / kPageBytes; index * kPageBytes < end; ++index) {
    const auto found = inode.pages.find(index);
    if (found != inode.pages.end() && found->second.allocated) continue;
    if (used_pages_ >= available) {
      *length = index * kPageBytes - position;
      return *length > 0;
    }
    ++used_pages_;
    inode.pages[index].allocated = true;
  }
  return true;
}

int64_t SimDisk::Write(InodeId id, const iovec* vectors, size_t count, int64_t position,
                       int64_t now_ms) {
  Inode& inode = at(id);
  if (inode.is_directory) return -EISDIR;
  if (position < 0) return -EINVAL;
  int64_t length = 0;
  for (size_t i = 0; i < count; ++i) length += static_cast<int64_t>(vectors[i].iov_len);
  if (length == 0) return 0;
  if (!Reserve(inode, position, &length)) return -ENOSPC;
  int64_t at_byte = position;
  int64_t left = length;
  for (size_t i = 0; i < count && left > 0; ++i) {
    const auto* from = static_cast<const uint8_t*>(vectors[i].iov_base);
    int64_t take = std::min<int64_t>(left, static_cast<int64_t>(vectors[i].iov_len));
    left -= take;
    while (take > 0) {
      const int64_t in_page = at_byte % kPageBytes;
      const int64_t now = std::min(take, kPageBytes - in_page);
      Page& page = Load(inode, at_byte / kPageBytes);
      page.cache.resize(kPageBytes);
      std::memcpy(page.cache.data() + in_page, from, static_cast<size_t>(now));
      for (int64_t s = in_page / kSectorBytes; s <= (in_page + now - 1) / kSectorBytes; ++s) {
        page.dirty |= static_cast<uint8_t>(1u << s);
        page.order[s] = ++write_order_;
      }
      from += now;
      at_byte += now;
      take -= now;
    }
  }
  if (at_byte > inode.size) {
    NoteSize(id, inode.size, at_byte);
    inode.size = at_byte;
  }
  inode.modified_ms = now_ms;
  UpdateMappings(inode, position, length);
  Background(inode);
  return length;
}

// All within the page of `position` at most; missing pages are zeros.
void SimDisk::CopyOut(const Inode& inode, int64_t position, uint8_t* to, int64_t length,
                      bool direct) const {
  const auto found = inode.pages.find(position / kPageBytes);
  const int64_t in_page = position % kPageBytes;
  if (found == inode.pages.end()) {
    std::memset(to, 0, static_cast<size_t>(length));
    return;
  }
  const Page& page = found->second;
  const bool cached = page.resident && (!direct || page.dirty != 0);
  const std::vector<uint8_t>& from = cached ? page.cache : page.durable;
  if (from.empty()) {
    std::memset(to, 0, static_cast<size_t>(length));
  } else {
    std::memcpy(to, from.data() + in_page, static_cast<size_t>(length));
  }
}

int64_t SimDisk::Read(InodeId id, const iovec* vectors, size_t count, int64_t position, bool direct,
                      bool keep_cold) {
  Inode& inode = at(id);
  if (inode.is_directory) return -EISDIR;
  if (position < 0) return -EINVAL;
  const int64_t cut_from = CutFrom(id);
  int64_t done = 0;
  for (size_t i = 0; i < count; ++i) {
    auto* to = static_cast<uint8_t*>(vectors[i].iov_base);
    int64_t want = static_cast<int64_t>(vectors[i].iov_len);
    while (want > 0 && position + done < inode.size) {
      const int64_t from = position + done;
      const int64_t now = std::min({want, kPageBytes - from % kPageBytes, inode.size - from});
      if (!direct && !keep_cold) Load(inode, from / kPageBytes);
      CopyOut(inode, from, to, now, direct && from + now <= cut_from);
      to += now;
      done += now;
      want -= now;
    }
  }
  return done;
}

int64_t SimDisk::ReadResident(InodeId id, const iovec* vectors, size_t count, int64_t position) {
  const Inode& inode = at(id);
  if (inode.is_directory) return -EISDIR;
  if (position < 0) return -EINVAL;
  int64_t done = 0;
  for (size_t i = 0; i < count; ++i) {
    auto* to = static_cast<uint8_t*>(vectors[i].iov_base);
    int64_t want = static_cast<int64_t>(vectors[i].iov_len);
    while (want > 0 && position + done < inode.size) {
      const int64_t from = position + done;
      if (!Resident(id, from, 1)) return done > 0 ? done : -EAGAIN;
      const int64_t now = std::min({want, kPageBytes - from % kPageBytes, inode.size - from});
      CopyOut(inode, from, to, now, false);
      to += now;
      done += now;
      want -= now;
    }
  }
  return done;
}

bool SimDisk::Resident(InodeId id, int64_t position, int64_t length) const {
  const Inode& inode = at(id);
  const int64_t end = std::min(position + length, inode.size);
  for (int64_t index = position / kPageBytes; index * kPageBytes < end; ++index) {
    const auto found = inode.pages.find(index);
    if (found == inode.pages.end() || !found->second.resident) return false;
  }
  return true;
}

// Bytes from `size` on are zero, in the cache.
void SimDisk::CutPages(Inode& inode, int64_t size) {
  const int64_t first_gone = (size + kPageBytes - 1) / kPageBytes;
  for (auto entry = inode.pages.lower_bound(first_gone); entry != inode.pages.end(); ++entry) {
    Page& page = entry->second;
    if (page.allocated) --used_pages_;
    page.allocated = false;
    page.dirty = 0;
    page.cache.clear();
    page.resident = true;  // as zeros: what the medium has there belongs to the past
  }
  const int64_t in_page = size % kPageBytes;
  if (in_page == 0 || !inode.pages.contains(size / kPageBytes)) return;
  Page& page = Load(inode, size / kPageBytes);
  if (!page.cache.empty()) std::fill(page.cache.begin() + in_page, page.cache.end(), 0);
}

int SimDisk::Truncate(InodeId id, int64_t size, int64_t now_ms) {
  Inode& inode = at(id);
  if (inode.is_directory) return -EISDIR;
  if (size < 0) return -EINVAL;
  if (size == inode.size) return 0;
  NoteSize(id, inode.size, size);
  const int64_t before = inode.size;
  inode.size = size;
  if (size < before) CutPages(inode, size);
  inode.modified_ms = now_ms;
  UpdateMappings(inode, std::min(size, before), std::max(size, before) - std::min(size, before));
  return 0;
}

int SimDisk::Allocate(InodeId id, int64_t position, int64_t length, int64_t now_ms) {
  Inode& inode = at(id);
  if (inode.is_directory) return -EISDIR;
  if (position < 0 || length <= 0) return -EINVAL;
  int64_t granted = length;
  // As ext4 does it, what was reserved before the disk was full stays reserved.
  if (!Reserve(inode, position, &granted) || granted < length) return -ENOSPC;
  if (position + length > inode.size) {
    NoteSize(id, inode.size, position + length);
    inode.size = position + length;
  }
  inode.modified_ms = now_ms;
  return 0;
}

void SimDisk::DropCache(InodeId id, int64_t position, int64_t length) {
  Inode& inode = at(id);
  const int64_t end = length == 0 ? INT64_MAX : position + length;  // as posix_fadvise has it
  const int64_t cut_from = CutFrom(id);
  auto entry = inode.pages.lower_bound((position + kPageBytes - 1) / kPageBytes);
  for (; entry != inode.pages.end() && (entry->first + 1) * kPageBytes <= end; ++entry) {
    Page& page = entry->second;
    if (page.dirty != 0 || (entry->first + 1) * kPageBytes > cut_from) continue;
    page.resident = false;
    page.cache.clear();
  }
}

const uint8_t* SimDisk::Map(InodeId id, int64_t position, int64_t length) {
  Inode& inode = at(id);
  if (position % kPageBytes != 0 || length <= 0) return nullptr;
  const int64_t rounded = (length + kPageBytes - 1) / kPageBytes * kPageBytes;
  auto* data = static_cast<uint8_t*>(std::aligned_alloc(kPageBytes, static_cast<size_t>(rounded)));
  std::memset(data, 0, static_cast<size_t>(rounded));
  inode.mappings.push_back({position, rounded, data});
  UpdateMappings(inode, position, rounded);
  return data;
}

void SimDisk::UpdateMappings(Inode& inode, int64_t position, int64_t length) {
  for (const Mapping& mapping : inode.mappings) {
    int64_t from = std::max(position, mapping.position);
    const int64_t end = std::min(position + length, mapping.position + mapping.length);
    while (from < end) {
      const int64_t now = std::min(end - from, kPageBytes - from % kPageBytes);
      CopyOut(inode, from, mapping.data + (from - mapping.position), now, false);
      from += now;
    }
  }
}

void SimDisk::Unmap(const uint8_t* data) {
  for (auto& [id, inode] : inodes_) {
    const auto found = std::ranges::find(inode.mappings, data, &Mapping::data);
    if (found == inode.mappings.end()) continue;
    std::free(found->data);
    inode.mappings.erase(found);
    return;
  }
  RT_CHECK(!"Unmap of what is not mapped");
}

std::optional<std::string> SimDisk::Content(absl::string_view path) const {
  const int64_t id = Lookup(path);
  if (id < 0 || at(static_cast<InodeId>(id)).is_directory) return std::nullopt;
  const Inode& inode = at(static_cast<InodeId>(id));
  std::string content(static_cast<size_t>(inode.size), '\0');
  for (int64_t from = 0; from < inode.size; from += kPageBytes) {
    CopyOut(inode, from, reinterpret_cast<uint8_t*>(content.data()) + from,
            std::min(kPageBytes, inode.size - from), false);
  }
  return content;
}

int64_t SimDisk::dirty_bytes() const {
  int64_t sectors = 0;
  for (const auto& [id, inode] : inodes_) {
    for (const auto& [index, page] : inode.pages) sectors += __builtin_popcount(page.dirty);
  }
  return sectors * kSectorBytes;
}

}  // namespace ringtail::sim
