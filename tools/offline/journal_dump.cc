#include "tools/offline/journal_dump.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "tools/offline/file_window.h"

namespace ringtail::offline {
namespace {

using Json = nlohmann::ordered_json;

struct FoundFrame {
  uint32_t file = 0;  // into CoreState::files
  int64_t position = 0;
  log::FrameHeader header;
  std::vector<log::EntryHeader> entries;
  std::vector<bool> whole;  // by entry
  std::string damage;       // its header or table
};

struct FileFrames {
  std::vector<FoundFrame> frames;
  uint64_t stale = 0;  // of other runs or laps
};

class Dumper {
 public:
  Dumper(const DataDir& dir, const JournalDumpOptions& options,
         const std::function<void(absl::string_view)>& line)
      : dir_(dir), options_(options), line_(line) {}

  absl::Status Run();

 private:
  void Manifest();
  void Core(const CoreState& core);
  void Slot(const CoreState& core, uint32_t slot);
  void Record(const log::CheckpointRecord& record);
  void File(const CoreState& core, uint32_t index, const FileFrames& found);
  void Frame(const CoreState& core, const FoundFrame& frame);
  void Entry(const log::EntryHeader& entry, bool whole);
  FileFrames Find(const CoreState& core, uint32_t index);
  std::string StateOf(const CoreState& core, const FoundFrame& frame) const;
  // As JSON, or as the text.
  void Print(const Json& json, const std::string& text) {
    line_(options_.json ? json.dump() : text);
  }
  void Damage(const std::string& what) {
    if (damage_.empty()) damage_ = what;
  }

  const DataDir& dir_;
  const JournalDumpOptions& options_;
  const std::function<void(absl::string_view)>& line_;
  std::string damage_;
  uint64_t torn_seq_ = 0;  // of the core at hand: frames from here on do not count; 0: all do
};

absl::Status Dumper::Run() {
  if (!dir_.manifest.ok()) return dir_.manifest.status();
  if (options_.core && *options_.core >= dir_.cores.size()) {
    return absl::InvalidArgumentError(absl::StrCat("there is no core ", *options_.core,
                                                   ": cores 0 to ", dir_.cores.size() - 1,
                                                   " have journals"));
  }
  Manifest();
  for (const auto& core : dir_.cores) {
    if (!options_.core || core->core == *options_.core) Core(*core);
  }
  for (const std::string& why : dir_.refusals) Damage(why);
  return damage_.empty() ? absl::OkStatus() : absl::DataLossError(damage_);
}

void Dumper::Manifest() {
  const log::Manifest& manifest = *dir_.manifest;
  const std::string state = dir_.clean() ? "clean" : "open";
  Print({{"manifest", log::JournalManifestPath(dir_.path)},
         {"run", manifest.run},
         {"cores", manifest.cores},
         {"state", state},
         {"created_ms", manifest.created_ms},
         {"dir_id", manifest.dir_id.ToString()}},
        absl::StrCat("MANIFEST run ", manifest.run, " cores ", manifest.cores, " state ", state,
                     " dir_id ", manifest.dir_id.ToString()));
}

void Dumper::Core(const CoreState& core) {
  for (uint32_t slot = 0; slot < 2; ++slot) Slot(core, slot);
  std::vector<FileFrames> found;
  std::set<uint64_t> seqs;
  for (uint32_t i = 0; i < core.files.size(); ++i) {
    found.push_back(Find(core, i));
    for (const FoundFrame& frame : found.back().frames) {
      const bool whole =
          std::find(frame.whole.begin(), frame.whole.end(), false) == frame.whole.end();
      if (frame.damage.empty() && whole) seqs.insert(frame.header.seq);
    }
  }
  // As recovery cuts: the first frame that is not whole, above all that is known to be durable.
  torn_seq_ = 0;
  if (core.newest && !dir_.clean()) {
    uint64_t next = std::max<uint64_t>(core.checkpoint().header.tail_seq, core.scan.proven_seq + 1);
    while (seqs.contains(next)) ++next;
    torn_seq_ = next;
  }
  std::vector<uint32_t> order(core.files.size());
  for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(),
            [&](uint32_t a, uint32_t b) { return core.files[a].number < core.files[b].number; });
  for (const uint32_t i : order) File(core, i, found[i]);
  for (const log::SeqRange& lost : core.scan.lost) {
    const std::string last =
        lost.last == UINT64_MAX ? std::string("the end") : absl::StrCat(lost.last);
    Damage(absl::StrCat(core.directory, ": frames ", lost.first, " to ", last, " are lost"));
    Print({{"lost_from", lost.first}, {"lost_to", last}},
          absl::StrCat("LOST frames ", lost.first, " to ", last));
  }
}

void Dumper::Slot(const CoreState& core, uint32_t slot) {
  const std::string path = absl::StrCat(core.directory, "/", log::CheckpointFileName(slot));
  const auto& read = core.slots[slot];
  if (!read.ok()) {
    const std::string what(read.status().message());
    Print({{"checkpoint", path}, {"damage", what}}, absl::StrCat(path, ": ", what));
    return;
  }
  const log::CheckpointHeader& header = read->header;
  const std::string state = core.newest == slot                ? "newest"
                            : header.run == dir_.manifest->run ? "older"
                                                               : "of another run";
  Json json = {{"checkpoint", path},          {"state", state},
               {"run", header.run},           {"core", header.core},
               {"number", header.number},     {"tail_file", header.tail_file},
               {"tail_seq", header.tail_seq}, {"records", read->records.size()}};
  std::string text = absl::StrCat(path, ": ", state, ", run ", header.run, " number ",
                                  header.number, " tail_file ", header.tail_file, " tail_seq ",
                                  header.tail_seq, " records ", read->records.size());
  for (const log::HeldFile& held : read->held) {
    json["held"].push_back({held.run, held.core, held.file_number, held.end_block});
    absl::StrAppend(&text, " held ", held.run, "/", held.core, "/", held.file_number);
    if (held.end_block != 0) absl::StrAppend(&text, " up to block ", held.end_block);
  }
  Print(json, text);
  if (!options_.entries || core.newest != slot) return;
  for (const log::CheckpointRecord& record : read->records) Record(record);
}

void Dumper::Record(const log::CheckpointRecord& record) {
  std::vector<std::string> flags;
  if ((record.flags & log::kRecordPageCache) != 0) flags.push_back("page_cache");
  if ((record.flags & log::kRecordPoisoned) != 0) flags.push_back("poisoned");
  if ((record.flags & log::kRecordRefused) != 0) flags.push_back("refused");
  if ((record.flags & log::kRecordSuspect) != 0) flags.push_back("suspect");
  std::string text = absl::StrCat("  ", record.topic_id.ToString(), "/", record.partition,
                                  " sync_seq ", record.sync_seq, " end ", record.offset, " = byte ",
                                  record.position, " of segment ", record.segment_base,
                                  " log_start ", record.log_start, " epoch ", record.leader_epoch);
  for (const std::string& flag : flags) absl::StrAppend(&text, " ", flag);
  Print({{"record", record.topic_id.ToString()},
         {"partition", record.partition},
         {"flags", flags},
         {"sync_seq", record.sync_seq},
         {"offset", record.offset},
         {"segment_base", record.segment_base},
         {"position", record.position},
         {"log_start", record.log_start},
         {"leader_epoch", record.leader_epoch}},
        text);
}

FileFrames Dumper::Find(const CoreState& core, uint32_t index) {
  const log::JournalFileFound& file = core.files[index];
  FileFrames found;
  FileWindow window(file.path, file.bytes);
  log::FramePlace place;
  place.run = dir_.manifest->run;
  place.core = core.core;
  place.file_bytes = file.bytes;
  place.dir_id = dir_.manifest->dir_id;
  constexpr int64_t kBlock = log::kJournalBlockBytes;
  for (int64_t at = kBlock; at + kBlock <= file.bytes;) {
    const base::ByteView head = window.At(at, sizeof(log::FrameHeader));
    log::FrameHeader named;
    if (head.size() < sizeof(named)) {
      Damage(absl::StrCat(file.path, ": cannot be read at byte ", at));
      break;
    }
    memcpy(&named, head.data(), sizeof(named));
    if (named.magic != log::kFrameMagic) {
      at += kBlock;
      continue;
    }
    place.position = at;
    // A file whose own header is lost: its frames name it.
    place.file_number = file.number != 0 ? file.number : named.file_number;
    const auto header = log::DecodeFrameHeader(head, place);
    if (!header.ok()) {
      ++found.stale;
      at += kBlock;
      continue;
    }
    const base::ByteView bytes = window.At(at, header->frame_bytes);
    auto frame = log::DecodeFrame(bytes, place);
    FoundFrame each;
    each.file = index;
    each.position = at;
    each.header = *header;
    if (frame.ok()) {
      for (const auto& entry : frame->entries) each.whole.push_back(PayloadIsWhole(bytes, entry));
      each.entries = std::move(frame->entries);
      at += header->frame_bytes;
    } else {
      each.damage = std::string(frame.status().message());
      at += kBlock;
    }
    found.frames.push_back(std::move(each));
  }
  return found;
}

std::string Dumper::StateOf(const CoreState& core, const FoundFrame& frame) const {
  if (dir_.clean()) return "done";
  if (!core.newest) return "unknown";
  const uint64_t seq = frame.header.seq;
  if (seq < core.checkpoint().header.tail_seq) return "done";
  if (seq >= torn_seq_) return "torn";  // in flight when the run ended: never acknowledged
  return "live";
}

void Dumper::File(const CoreState& core, uint32_t index, const FileFrames& found) {
  const log::JournalFileFound& file = core.files[index];
  const bool of_this_run = file.run == dir_.manifest->run && file.core == core.core;
  const bool held =
      core.newest && std::any_of(core.checkpoint().held.begin(), core.checkpoint().held.end(),
                                 [&](const log::HeldFile& each) {
                                   return each.run == file.run && each.core == file.core &&
                                          each.file_number == file.number;
                                 });
  const std::string state = file.run == 0  ? "its header cannot be read"
                            : held         ? "held for a closed partition"
                            : !of_this_run ? "of an earlier run"
                            : core.newest && file.number < core.checkpoint().header.tail_file
                                ? "free"
                                : "live";
  Print({{"file", file.path},
         {"state", state},
         {"run", file.run},
         {"file_number", file.number},
         {"bytes", file.bytes},
         {"frames", found.frames.size()},
         {"stale_frames", found.stale}},
        absl::StrCat(file.path, ": ", state, ", run ", file.run, " number ", file.number, " bytes ",
                     file.bytes, " frames ", found.frames.size(), ", stale frames ", found.stale));
  for (const FoundFrame& frame : found.frames) Frame(core, frame);
}

void Dumper::Frame(const CoreState& core, const FoundFrame& frame) {
  const log::FrameHeader& header = frame.header;
  const std::string state = StateOf(core, frame);
  const auto bad = std::count(frame.whole.begin(), frame.whole.end(), false);
  std::string damage = frame.damage;
  if (bad > 0) damage = absl::StrCat("damaged payloads: ", bad);
  if (!damage.empty() && state == "live") {
    Damage(absl::StrCat(core.files[frame.file].path, ": frame ", header.seq, " at byte ",
                        frame.position, ": ", damage));
  }
  const bool seal = (header.flags & log::kFrameFlagSeal) != 0;
  std::string text = absl::StrCat(" frame ", header.seq, " at byte ", frame.position, " bytes ",
                                  header.frame_bytes, " durable_seq ", header.durable_seq,
                                  " entries ", header.entry_count, " ", state);
  if (seal) absl::StrAppend(&text, " seal");
  if (!damage.empty()) absl::StrAppend(&text, " DAMAGED: ", damage);
  Json json = {{"frame", header.seq},
               {"position", frame.position},
               {"bytes", header.frame_bytes},
               {"durable_seq", header.durable_seq},
               {"entries", header.entry_count},
               {"seal", seal},
               {"state", state}};
  if (!damage.empty()) json["damage"] = damage;
  Print(json, text);
  if (!options_.entries) return;
  for (size_t i = 0; i < frame.entries.size(); ++i) Entry(frame.entries[i], frame.whole[i]);
}

void Dumper::Entry(const log::EntryHeader& entry, bool whole) {
  const std::string type(log::EntryTypeName(entry.type));
  Print(
      {{"entry", type},
       {"topic_id", entry.topic_id.ToString()},
       {"partition", entry.partition},
       {"flags", entry.flags},
       {"leader_epoch", entry.leader_epoch},
       {"base_offset", entry.base_offset},
       {"end_offset", entry.end_offset},
       {"segment_base", entry.segment_base},
       {"position", entry.position},
       {"payload_bytes", entry.payload_bytes},
       {"payload_whole", whole}},
      absl::StrCat("  ", type, " ", entry.topic_id.ToString(), "/", entry.partition, " flags ",
                   entry.flags, " epoch ", entry.leader_epoch, " offsets ", entry.base_offset, "..",
                   entry.end_offset, " byte ", entry.position, " of segment ", entry.segment_base,
                   " payload ", entry.payload_bytes, whole ? "" : " DAMAGED"));
}

}  // namespace

absl::Status DumpJournal(const DataDir& dir, const JournalDumpOptions& options,
                         const std::function<void(absl::string_view)>& line) {
  return Dumper(dir, options, line).Run();
}

}  // namespace ringtail::offline
