// SimDisk: what is on the medium, how it gets there, and what a power cut leaves of the rest.
#include <algorithm>
#include <cstring>

#include "engine/base/check.h"
#include "tests/sim/disk.h"

namespace ringtail::sim {

void SimDisk::Note(MetaOp op) {
  op.seq = ++meta_seq_;
  pending_.push_back(std::move(op));
}

// A file that grows again and again, as a log does, is one entry; the cut may fall anywhere in it.
void SimDisk::NoteSize(InodeId id, int64_t from, int64_t to) {
  if (!pending_.empty()) {
    MetaOp& last = pending_.back();
    if (last.kind == MetaOp::kSize && last.inode == id && last.size_to == from &&
        last.seq > sync_started_seq_ && last.size_from <= from && from <= to) {
      last.size_to = to;
      last.seq = ++meta_seq_;
      return;
    }
  }
  MetaOp op;
  op.kind = MetaOp::kSize;
  op.inode = id;
  op.size_from = from;
  op.size_to = to;
  Note(std::move(op));
}

// Where the file was cut by truncations that are not durable yet: what the medium has behind that
// belongs to the past, and what was written there since lies in blocks that nothing durable names.
int64_t SimDisk::CutFrom(InodeId id) const {
  int64_t cut_from = INT64_MAX;
  for (const MetaOp& op : pending_) {
    if (op.kind != MetaOp::kSize || op.inode != id || op.size_to >= op.size_from) continue;
    cut_from = std::min(cut_from, op.size_to);
  }
  return cut_from;
}

void SimDisk::Persist(Inode& inode, int64_t sector, const uint8_t* bytes) {
  const auto spoiled = inode.spoiled.find(sector);
  if (spoiled == inode.spoiled.end()) return PutSector(inode, sector, bytes);
  const Spoiled how = spoiled->second;
  inode.spoiled.erase(spoiled);
  uint8_t changed[kSectorBytes] = {};
  switch (how.kind) {
    case FaultKind::kBitFlip:
      std::memcpy(changed, bytes, kSectorBytes);
      changed[how.bit / 8 % kSectorBytes] ^= static_cast<uint8_t>(1u << (how.bit % 8));
      return PutSector(inode, sector, changed);
    case FaultKind::kZeroed:
      return PutSector(inode, sector, changed);
    case FaultKind::kMisdirected:
      return PutSector(inode, how.target_sector, bytes);
    default:
      return;
  }
}

void SimDisk::PutSector(Inode& inode, int64_t sector, const uint8_t* bytes) {
  Page& page = inode.pages[sector * kSectorBytes / kPageBytes];
  page.durable.resize(kPageBytes);
  std::memcpy(page.durable.data() + sector * kSectorBytes % kPageBytes, bytes, kSectorBytes);
}

void SimDisk::SetDurableSize(Inode& inode, int64_t size) {
  if (size < inode.durable_size) {
    const int64_t first_gone = (size + kPageBytes - 1) / kPageBytes;
    for (auto page = inode.pages.lower_bound(first_gone); page != inode.pages.end(); ++page) {
      page->second.durable.clear();
    }
    const auto last = inode.pages.find(size / kPageBytes);
    if (size % kPageBytes != 0 && last != inode.pages.end() && !last->second.durable.empty()) {
      std::fill(last->second.durable.begin() + size % kPageBytes, last->second.durable.end(), 0);
    }
  }
  inode.durable_size = size;
}

void SimDisk::Apply(const MetaOp& op) {
  switch (op.kind) {
    case MetaOp::kLink:
      at(op.directory).durable_entries[op.name] = op.inode;
      return;
    case MetaOp::kUnlink:
      at(op.directory).durable_entries.erase(op.name);
      return;
    case MetaOp::kRename:
      at(op.directory).durable_entries.erase(op.name);
      at(op.directory2).durable_entries[op.name2] = op.inode;
      return;
    case MetaOp::kSize:
      SetDurableSize(at(op.inode), op.size_to);
      return;
  }
}

void SimDisk::ApplySizes(InodeId id, uint64_t seq_max) {
  std::erase_if(pending_, [&](const MetaOp& op) {
    if (op.kind != MetaOp::kSize || op.inode != id || op.seq > seq_max) return false;
    Apply(op);
    return true;
  });
}

// Those that touch the directory, and those before them that touch the same names elsewhere.
void SimDisk::ApplyNames(InodeId directory, uint64_t seq_max) {
  std::set<std::pair<InodeId, std::string>> needed;
  std::set<uint64_t> chosen;
  for (auto op = pending_.rbegin(); op != pending_.rend(); ++op) {
    if (op->kind == MetaOp::kSize || op->seq > seq_max) continue;
    const bool renames = op->kind == MetaOp::kRename;
    const std::pair<InodeId, std::string> one{op->directory, op->name};
    const std::pair<InodeId, std::string> other{op->directory2, op->name2};
    if (op->directory != directory && !(renames && op->directory2 == directory) &&
        !needed.contains(one) && !(renames && needed.contains(other))) {
      continue;
    }
    chosen.insert(op->seq);
    needed.insert(one);
    if (renames) needed.insert(other);
  }
  std::erase_if(pending_, [&](const MetaOp& op) {
    if (!chosen.contains(op.seq)) return false;
    Apply(op);
    return true;
  });
}

SimDisk::SyncSnapshot SimDisk::StartSync(InodeId id) {
  const Inode& inode = at(id);
  sync_started_seq_ = meta_seq_;
  SyncSnapshot snapshot;
  snapshot.id = id;
  snapshot.meta_seq = meta_seq_;
  for (const auto& [index, page] : inode.pages) {
    for (int64_t s = 0; page.dirty != 0 && s < kPageBytes / kSectorBytes; ++s) {
      if (!(page.dirty & (1u << s))) continue;
      const auto from = page.cache.begin() + s * kSectorBytes;
      snapshot.sectors.push_back(
          {index * kPageBytes / kSectorBytes + s, page.order[s], {from, from + kSectorBytes}});
    }
  }
  return snapshot;
}

void SimDisk::FinishSync(const SyncSnapshot& snapshot) {
  Inode& inode = at(snapshot.id);
  if (inode.is_directory) {
    ApplyNames(snapshot.id, snapshot.meta_seq);
    DropUnreachable();
    return;
  }
  ApplySizes(snapshot.id, snapshot.meta_seq);
  for (const SyncSnapshot::Sector& sector : snapshot.sectors) {
    const auto found = inode.pages.find(sector.index * kSectorBytes / kPageBytes);
    if (found == inode.pages.end()) continue;
    const int64_t s = sector.index % (kPageBytes / kSectorBytes);
    Persist(inode, sector.index, sector.bytes.data());
    if (found->second.order[s] == sector.order) {
      found->second.dirty &= static_cast<uint8_t>(~(1u << s));
    }
  }
}

void SimDisk::FailSync(const SyncSnapshot& snapshot) {
  Inode& inode = at(snapshot.id);
  const int64_t cut_from = CutFrom(snapshot.id);
  for (const SyncSnapshot::Sector& sector : snapshot.sectors) {
    const auto found = inode.pages.find(sector.index * kSectorBytes / kPageBytes);
    if (found == inode.pages.end()) continue;
    const int64_t s = sector.index % (kPageBytes / kSectorBytes);
    if (rng_.Chance(0.5) && sector.index * kSectorBytes < cut_from) {
      Persist(inode, sector.index, sector.bytes.data());
    }
    if (found->second.order[s] == sector.order) {
      found->second.dirty &= static_cast<uint8_t>(~(1u << s));
    }
  }
}

void SimDisk::MakeDurable(InodeId id, int64_t position, int64_t length) {
  if (length <= 0) return;
  Inode& inode = at(id);
  ApplySizes(id, meta_seq_);
  std::set<int64_t> wrong;
  for (int64_t sector = position / kSectorBytes; sector * kSectorBytes < position + length;
       ++sector) {
    Page& page = inode.pages[sector * kSectorBytes / kPageBytes];
    const int64_t s = sector % (kPageBytes / kSectorBytes);
    if (!(page.dirty & (1u << s))) continue;
    if (inode.spoiled.contains(sector)) wrong.insert(sector * kSectorBytes / kPageBytes);
    Persist(inode, sector, page.cache.data() + s * kSectorBytes);
    page.dirty &= static_cast<uint8_t>(~(1u << s));
  }
  // The next reader sees the medium.
  for (const int64_t index : wrong) {
    if (inode.pages[index].dirty == 0) inode.pages[index].resident = false;
  }
}

void SimDisk::WriteBack(InodeId id, int64_t position, int64_t length) {
  Inode& inode = at(id);
  const int64_t end = length == 0 ? INT64_MAX : position + length;
  const int64_t cut_from = CutFrom(id);
  for (auto entry = inode.pages.lower_bound(position / kPageBytes);
       entry != inode.pages.end() && entry->first * kPageBytes < end; ++entry) {
    for (int64_t s = 0; entry->second.dirty != 0 && s < kPageBytes / kSectorBytes; ++s) {
      const int64_t sector = entry->first * kPageBytes / kSectorBytes + s;
      if (!(entry->second.dirty & (1u << s)) || rng_.Chance(0.5)) continue;
      if (inode.spoiled.contains(sector)) continue;
      if (entry->first * kPageBytes >= cut_from) break;
      PutSector(inode, sector, entry->second.cache.data() + s * kSectorBytes);
    }
  }
}

void SimDisk::Background(Inode& inode) {
  if (!rng_.Chance(options_.background_writeback)) return;
  for (auto& [id, other] : inodes_) {
    if (&other == &inode) WriteBack(id, 0, 0);
  }
  const uint64_t keep = rng_.Below(pending_.size() + 1);
  for (uint64_t i = 0; i < keep; ++i) Apply(pending_[i]);
  pending_.erase(pending_.begin(), pending_.begin() + static_cast<int64_t>(keep));
}

void SimDisk::SpoilWrite(InodeId id, int64_t position, int64_t length, FaultKind kind) {
  Inode& inode = at(id);
  const int64_t first = position / kSectorBytes;
  const int64_t last = (position + length - 1) / kSectorBytes;
  int64_t from = first, to = last, shift = 0;
  if (kind == FaultKind::kBitFlip) {
    from = to = rng_.Between(first, last);
  } else if (kind == FaultKind::kZeroed) {
    from = to = rng_.Between(first, last);
    if (rng_.Chance(0.5)) {
      from = std::max(first, from / 8 * 8);
      to = std::min(last, from / 8 * 8 + 7);
    }
  } else if (kind == FaultKind::kMisdirected) {
    const int64_t size = std::max(inode.size / kSectorBytes, last + 9);
    shift = rng_.Between(0, (size - (last - first) - 1) / 8) * 8 - first / 8 * 8;
    if (shift == 0) shift = 8;
  }
  for (int64_t sector = from; sector <= to; ++sector) {
    inode.spoiled[sector] = {kind, sector + shift,
                             static_cast<uint32_t>(rng_.Below(kSectorBytes * 8))};
  }
}

// How many of the pending names and sizes survive.
size_t SimDisk::KeepMeta(const PowerCutPolicy& policy) {
  if (policy.kept == PowerCutPolicy::kNone) return 0;
  if (policy.kept == PowerCutPolicy::kAll) return pending_.size();
  return rng_.Below(pending_.size() + 1);
}

void SimDisk::KeepSectors(const PowerCutPolicy& policy) {
  struct Unit {
    uint64_t order;
    InodeId id;
    int64_t page;
    uint8_t sectors;
  };
  std::vector<Unit> units;
  for (const auto& [id, inode] : inodes_) {
    const int64_t cut_from = CutFrom(id);
    for (const auto& [index, page] : inode.pages) {
      if (page.dirty == 0 || index * kPageBytes >= cut_from) continue;
      if (policy.unit_bytes >= kPageBytes) {
        units.push_back({*std::max_element(std::begin(page.order), std::end(page.order)), id, index,
                         page.dirty});
        continue;
      }
      for (int s = 0; s < kPageBytes / kSectorBytes; ++s) {
        if (!(page.dirty & (1u << s))) continue;
        units.push_back({page.order[s], id, index, static_cast<uint8_t>(1u << s)});
      }
    }
  }
  std::ranges::sort(units, {}, &Unit::order);
  const uint64_t cut = rng_.Below(units.size() + 1);
  for (size_t i = 0; i < units.size(); ++i) {
    const bool keep = policy.kept == PowerCutPolicy::kAll ||
                      (policy.kept == PowerCutPolicy::kPrefix && i < cut) ||
                      (policy.kept == PowerCutPolicy::kSuffix && i >= cut) ||
                      (policy.kept == PowerCutPolicy::kSubset && rng_.Chance(0.5));
    if (!keep) continue;
    Inode& inode = at(units[i].id);
    for (int64_t s = 0; s < kPageBytes / kSectorBytes; ++s) {
      if (!(units[i].sectors & (1u << s))) continue;
      const int64_t sector = units[i].page * kPageBytes / kSectorBytes + s;
      Persist(inode, sector, inode.pages[units[i].page].cache.data() + s * kSectorBytes);
    }
  }
}

void SimDisk::PowerCut(const PowerCutPolicy& policy) {
  const size_t kept = KeepMeta(policy);
  for (size_t i = 0; i < kept; ++i) {
    MetaOp op = pending_[i];
    // The last of a file's entries that was kept may have been kept in part.
    if (i + 1 == kept && kept < pending_.size() && op.kind == MetaOp::kSize &&
        op.size_from < op.size_to) {
      op.size_to = rng_.Between(op.size_from, op.size_to);
    }
    Apply(op);
  }
  pending_.erase(pending_.begin(), pending_.begin() + static_cast<int64_t>(kept));
  KeepSectors(policy);
  pending_.clear();
  StartOver();
}

// The running system is gone: what the medium has is all there is.
void SimDisk::StartOver() {
  used_pages_ = 0;
  for (auto& [id, inode] : inodes_) {
    RT_CHECK(inode.opens == 0 && inode.mappings.empty());
    inode.entries = inode.durable_entries;
    inode.size = inode.durable_size;
    inode.spoiled.clear();
    inode.linked = true;
    SetDurableSize(inode, inode.size);
    const int64_t end = (inode.size + kPageBytes - 1) / kPageBytes;
    inode.pages.erase(inode.pages.lower_bound(end), inode.pages.end());
    const auto last = inode.pages.find(inode.size / kPageBytes);
    if (last != inode.pages.end() && !last->second.durable.empty()) {
      std::fill(last->second.durable.begin() + inode.size % kPageBytes, last->second.durable.end(),
                0);
    }
    for (auto& [index, page] : inode.pages) {
      page.allocated = page.allocated || !page.durable.empty();
      page.cache.clear();
      page.dirty = 0;
      page.resident = false;
    }
  }
  DropUnreachable();
  for (auto& [id, inode] : inodes_) {
    for (auto& [index, page] : inode.pages) used_pages_ += page.allocated ? 1 : 0;
  }
}

void SimDisk::DropUnreachable() {
  std::set<InodeId> seen;
  std::vector<InodeId> left = {kRoot};
  for (const MetaOp& op : pending_) {
    left.insert(left.end(), {op.inode, op.directory, op.directory2});
  }
  for (const auto& [id, inode] : inodes_) {
    if (inode.opens > 0 || !inode.mappings.empty()) left.push_back(id);
  }
  while (!left.empty()) {
    const InodeId id = left.back();
    left.pop_back();
    if (!inodes_.contains(id) || !seen.insert(id).second) continue;
    for (const auto& [name, child] : at(id).entries) left.push_back(child);
    for (const auto& [name, child] : at(id).durable_entries) left.push_back(child);
  }
  std::erase_if(inodes_, [&](const auto& entry) { return !seen.contains(entry.first); });
}

}  // namespace ringtail::sim
