// A simulated disk with one file system on it: a tree of directories and files, each byte of which
// exists twice: as the page cache has it, and as the medium has it.
//
//  - A buffered write changes the page cache; its 512-byte sectors are dirty until they are synced.
//  - Names and sizes change in the cache at once and go to the medium in their order, as in a
//    journaling file system: a power cut keeps a prefix of those that were not synced.
//  - Syncing a file makes its data and size durable as they were when the sync *started*; a new
//  name
//    is durable when its directory has been synced.
//  - PowerCut() leaves what the medium has, plus what the policy keeps of what was not synced.
//
// It knows no time and no operations: SimBackend decides when a call happens. Results are values >=
// 0 or -errno, as the system calls give them.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/base/bytes.h"
#include "engine/io/backend.h"
#include "tests/sim/fault.h"
#include "tests/sim/random.h"

namespace ringtail::sim {

inline constexpr int64_t kSectorBytes = 512;
inline constexpr int64_t kPageBytes = 4096;

// What a power cut keeps of the sectors that were not synced, and of the direct writes in flight.
struct PowerCutPolicy {
  enum Kept : uint8_t {
    kNone,
    kAll,
    kPrefix,  // of the order in which they were written, cut at random
    kSuffix,
    kSubset,  // each by chance
  };
  Kept kept = kSubset;
  int64_t unit_bytes = kSectorBytes;  // or kPageBytes: dirty sectors of a page live or die together
};

struct DiskOptions {
  int64_t capacity_bytes = int64_t{1} << 30;
  // How likely a write lets the kernel write some dirty pages, or commit some names and sizes.
  double background_writeback = 0.03;
};

using InodeId = uint64_t;

class SimDisk {
 public:
  SimDisk(const DiskOptions& options, Rng rng);
  SimDisk(const SimDisk& other);  // a fork, to try two futures of one past; nothing is open there
  ~SimDisk();
  SimDisk& operator=(const SimDisk&) = delete;

  // --- Names.
  int64_t Open(absl::string_view path, int flags, int64_t now_ms);  // -> inode, kept until Close
  void Reopen(InodeId id);  // once more, of one that is open
  void Close(InodeId id);
  int Unlink(absl::string_view path);
  int RemoveDirectory(absl::string_view path);
  int MakeDirectory(absl::string_view path, int64_t now_ms);
  int Rename(absl::string_view from, absl::string_view to);
  int64_t Lookup(absl::string_view path) const;
  int Info(InodeId id, io::FileInfo* info) const;
  int List(absl::string_view path, std::vector<io::DirectoryEntry>* entries) const;
  io::DiskSpace Space() const;

  // --- Data.
  int64_t Write(InodeId id, const iovec* vectors, size_t count, int64_t position, int64_t now_ms);
  // From the page cache, filling it unless `keep_cold`; `direct`: from the medium where it is
  // clean.
  int64_t Read(InodeId id, const iovec* vectors, size_t count, int64_t position, bool direct,
               bool keep_cold);
  int64_t ReadResident(InodeId id, const iovec* vectors, size_t count, int64_t position);
  bool Resident(InodeId id, int64_t position, int64_t length) const;
  int Truncate(InodeId id, int64_t size, int64_t now_ms);
  int Allocate(InodeId id, int64_t position, int64_t length, int64_t now_ms);
  void DropCache(InodeId id, int64_t position, int64_t length);  // clean pages only
  // A mapping sees later writes. nullptr where position is not at a page.
  const uint8_t* Map(InodeId id, int64_t position, int64_t length);
  void Unmap(const uint8_t* data);

  // --- Durability.
  struct SyncSnapshot {
    InodeId id = 0;
    uint64_t meta_seq = 0;
    struct Sector {
      int64_t index;
      uint64_t order;
      std::vector<uint8_t> bytes;
    };
    std::vector<Sector> sectors;
  };
  SyncSnapshot StartSync(InodeId id);
  void FinishSync(const SyncSnapshot& snapshot);
  void FailSync(const SyncSnapshot& snapshot);
  // After a Write with RWF_DSYNC: its sectors, and the size, are durable.
  void MakeDurable(InodeId id, int64_t position, int64_t length);
  // Some of the dirty sectors reach the medium; all stay dirty.
  void WriteBack(InodeId id, int64_t position, int64_t length);
  // The range that was just written will reach the medium wrongly.
  void SpoilWrite(InodeId id, int64_t position, int64_t length, FaultKind kind);
  // No process has anything open any more.
  void PowerCut(const PowerCutPolicy& policy);

  // --- For tests.
  void MakeCold(absl::string_view path);  // drops clean pages; of a directory: of all files below
  // Changes the medium, and the cache where it is clean. False: no such file.
  bool Corrupt(absl::string_view path, int64_t position, int64_t length, FaultKind kind);
  bool Overwrite(absl::string_view path, int64_t position, absl::string_view bytes);
  std::optional<std::string> Content(absl::string_view path) const;  // as a reader sees it
  std::optional<std::string> DurableContent(
      absl::string_view path) const;  // if the name is durable
  bool Exists(absl::string_view path) const { return Lookup(path) >= 0; }
  // All durable, parents made as needed.
  void Put(absl::string_view path, absl::string_view content);
  // Everything is durable now, as after sync(1).
  void SyncEverything();
  // All paths below, files with their sizes, sorted: "/a/b 123\n".
  std::string Tree() const;
  uint64_t ContentHash() const;  // names and contents, as readers see them
  int64_t dirty_bytes() const;
  void set_capacity_bytes(int64_t bytes) { options_.capacity_bytes = bytes; }
  void set_background_writeback(double chance) { options_.background_writeback = chance; }

 private:
  struct Page {
    std::vector<uint8_t> cache;    // empty: zeros
    std::vector<uint8_t> durable;  // empty: zeros
    uint8_t dirty = 0;             // a bit per sector
    bool resident = false;
    bool allocated = false;
    uint64_t order[kPageBytes / kSectorBytes] = {};  // of the last write to each sector
  };
  struct Spoiled {
    FaultKind kind;
    int64_t target_sector;
    uint32_t bit;
  };
  struct Mapping {
    int64_t position;
    int64_t length;
    uint8_t* data;
  };
  struct Inode {
    bool is_directory = false;
    int64_t size = 0;
    int64_t durable_size = 0;
    int64_t modified_ms = 0;
    int opens = 0;
    bool linked = true;
    std::map<std::string, InodeId> entries;
    std::map<std::string, InodeId> durable_entries;
    std::map<int64_t, Page> pages;
    std::map<int64_t, Spoiled> spoiled;  // by sector, until it is written to the medium
    std::vector<Mapping> mappings;
  };
  struct MetaOp {
    enum Kind : uint8_t { kLink, kUnlink, kRename, kSize };
    Kind kind = kLink;
    uint64_t seq = 0;
    InodeId inode = 0;
    InodeId directory = 0;
    std::string name;
    InodeId directory2 = 0;
    std::string name2;
    int64_t size_from = 0;
    int64_t size_to = 0;
  };
  static constexpr InodeId kRoot = 1;

  Inode& at(InodeId id);
  const Inode& at(InodeId id) const;
  // The directory that holds the last part of `path`, and that part; -errno.
  int64_t Parent(absl::string_view path, std::string* name) const;
  InodeId NewInode(bool is_directory, int64_t now_ms);
  void Release(InodeId id);  // gives its space back when nothing names or holds it
  bool IsBelow(InodeId id, InodeId ancestor) const;
  void Note(MetaOp op);
  void NoteSize(InodeId id, int64_t from, int64_t to);
  int64_t CutFrom(InodeId id) const;

  Page& Load(Inode& inode, int64_t index);
  const uint8_t* Sector(const std::vector<uint8_t>& block, int64_t sector) const;
  void CopyOut(const Inode& inode, int64_t position, uint8_t* to, int64_t length,
               bool direct) const;
  void CutPages(Inode& inode, int64_t size);
  bool Reserve(Inode& inode, int64_t position, int64_t* length);
  void UpdateMappings(Inode& inode, int64_t position, int64_t length);

  void Persist(Inode& inode, int64_t sector, const uint8_t* bytes);
  void PutSector(Inode& inode, int64_t sector, const uint8_t* bytes);
  void Apply(const MetaOp& op);
  void SetDurableSize(Inode& inode, int64_t size);
  void ApplySizes(InodeId id, uint64_t seq_max);
  void ApplyNames(InodeId directory, uint64_t seq_max);
  size_t KeepMeta(const PowerCutPolicy& policy);
  void KeepSectors(const PowerCutPolicy& policy);
  void Background(Inode& inode);
  void DropUnreachable();
  void StartOver();
  template <class Visit>
  void VisitTree(const Visit& visit) const;

  DiskOptions options_;
  Rng rng_;
  std::map<InodeId, Inode> inodes_;
  InodeId next_inode_ = kRoot + 1;
  std::vector<MetaOp> pending_;  // names and sizes that are not durable
  uint64_t meta_seq_ = 0;
  uint64_t sync_started_seq_ = 0;  // what a sync has seen is not merged with what comes later
  uint64_t write_order_ = 0;
  int64_t used_pages_ = 0;
};

}  // namespace ringtail::sim
