#include "tools/offline/kafka_dir.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "engine/base/result.h"
#include "engine/log/data_directory.h"
#include "engine/log/segment_name.h"

namespace ringtail::offline {
namespace {

constexpr char kRingtailCatalog[] = "catalog";

// Kafka's own topics (Topic.java, TopicBasedRemoteLogMetadataManagerConfig.java): what they hold
// means nothing to another broker.
constexpr absl::string_view kInternalTopics[] = {"__cluster_metadata", "__consumer_offsets",
                                                 "__remote_log_metadata", "__share_group_state",
                                                 "__transaction_state"};

// Directories that are no partition: of deleted topics, and of replicas that move or strayed.
constexpr absl::string_view kAsideSuffixes[] = {"-delete", "-future", "-stray"};

bool Contains(const std::vector<std::string>& names, absl::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool IsInternal(absl::string_view topic) {
  return std::find(std::begin(kInternalTopics), std::end(kInternalTopics), topic) !=
         std::end(kInternalTopics);
}

class Reader {
 public:
  Reader(BlockingBackend& io, const KafkaSelection& selection, KafkaDirs* dirs)
      : io_(io), selection_(selection), dirs_(dirs) {}

  absl::Status Read(const std::string& path);
  void Finish();

 private:
  void Problem(std::string what) { dirs_->problems.push_back(std::move(what)); }
  bool IsKafkas(const std::string& path);
  bool IsWanted(const std::string& topic);
  absl::Status ReadPartition(const std::string& directory, const log::PartitionDirectory& name,
                             base::Offset log_start);
  void NoteId(const std::string& directory, KafkaTopic* topic);

  BlockingBackend& io_;
  const KafkaSelection& selection_;
  KafkaDirs* dirs_;
  std::map<std::string, KafkaTopic> topics_;
  std::set<std::string> seen_;  // topics, wanted or not
};

bool Reader::IsKafkas(const std::string& path) {
  const auto has = [&](const char* file) { return io_.StatPath(path + "/" + file).ok(); };
  const size_t before = dirs_->problems.size();
  if (has(kRingtailCatalog)) {
    Problem(absl::StrCat(path, ": this is a data directory of Ringtail; start ringtaild on it"));
  }
  const auto meta = RunBlocking(io_, log::ReadMetaProperties(io_, path));
  if (!meta.ok()) {
    Problem(absl::StrCat(
        path, ": expected a log directory of Kafka 4 (log.dirs), with a ", log::kMetaPropertiesFile,
        " of version 1; ",
        absl::IsNotFound(meta.status()) ? "there is none" : std::string(meta.status().message())));
  } else if (!has(log::kCleanShutdownFile)) {
    Problem(absl::StrCat(path, ": expected a directory that Kafka has closed, with a ",
                         log::kCleanShutdownFile,
                         "; there is none: Kafka runs, or ended without closing its logs; stop it "
                         "with kafka-server-stop.sh, after a start if need be"));
  }
  return dirs_->problems.size() == before;
}

bool Reader::IsWanted(const std::string& topic) {
  const bool first = seen_.insert(topic).second;
  if (Contains(selection_.except, topic)) return false;
  const bool named = Contains(selection_.topics, topic);
  if (!IsInternal(topic)) return named || selection_.topics.empty();
  if (named && first) {
    Problem(absl::StrCat(topic, ": expected a topic of clients; this is Kafka's own"));
  } else if (first) {
    dirs_->skipped.push_back(absl::StrCat(topic, ": Kafka's own"));
  }
  return false;
}

absl::Status Reader::Read(const std::string& path) {
  if (!IsKafkas(path)) return absl::OkStatus();
  RT_ASSIGN_OR_RETURN(const auto starts,
                      RunBlocking(io_, log::ReadOffsetCheckpoint(io_, path, log::kLogStartFile)));
  RT_ASSIGN_OR_RETURN(auto entries, io_.ListDirectory(path));
  std::sort(entries.begin(), entries.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  for (const io::DirectoryEntry& entry : entries) {
    if (!entry.is_directory) continue;
    const std::string directory = absl::StrCat(path, "/", entry.name);
    log::PartitionDirectory name;
    if (!log::ParsePartitionDirectory(entry.name, &name)) {
      const bool aside =
          std::any_of(std::begin(kAsideSuffixes), std::end(kAsideSuffixes),
                      [&](absl::string_view suffix) { return absl::EndsWith(entry.name, suffix); });
      dirs_->skipped.push_back(absl::StrCat(
          directory, aside ? ": deleted, moving or stray" : ": no directory of a partition"));
      continue;
    }
    if (!IsWanted(name.topic)) continue;
    const auto start = starts.find({name.topic, name.partition});
    RT_RETURN_IF_ERROR(
        ReadPartition(directory, name, start == starts.end() ? base::Offset(-1) : start->second));
  }
  return absl::OkStatus();
}

void Reader::NoteId(const std::string& directory, KafkaTopic* topic) {
  const auto id = RunBlocking(io_, log::ReadPartitionMetadata(io_, directory));
  if (absl::IsNotFound(id.status())) return;
  if (!id.ok()) return Problem(absl::StrCat(directory, ": ", id.status().message()));
  if (topic->id.IsZero()) topic->id = *id;
  if (topic->id != *id) {
    Problem(absl::StrCat(directory, ": expected the topic id of the other partitions, ",
                         topic->id.ToString(), "; its ", log::kPartitionMetadataFile, " says ",
                         id->ToString()));
  }
}

absl::Status Reader::ReadPartition(const std::string& directory,
                                   const log::PartitionDirectory& name, base::Offset log_start) {
  KafkaTopic& topic = topics_[name.topic];
  topic.name = name.topic;
  NoteId(directory, &topic);
  KafkaPartition partition;
  partition.directory = directory;
  RT_ASSIGN_OR_RETURN(const auto entries, io_.ListDirectory(directory));
  for (const io::DirectoryEntry& entry : entries) {
    base::Offset base;
    if (absl::EndsWith(entry.name, ".swap")) {
      Problem(absl::StrCat(directory, "/", entry.name,
                           ": expected no unfinished compaction; start and stop Kafka once more"));
    }
    if (!log::ParseSegmentFileName(entry.name, log::kLogSuffix, &base)) continue;
    RT_ASSIGN_OR_RETURN(const io::FileInfo info,
                        io_.StatPath(absl::StrCat(directory, "/", entry.name)));
    partition.segments[base] = info.size_bytes;
  }
  if (partition.segments.empty()) {
    Problem(absl::StrCat(directory, ": expected segments (*.log); there are none"));
    return absl::OkStatus();
  }
  const base::Offset first = partition.segments.begin()->first;
  // With tiered storage the log begins elsewhere; without, never before its first segment.
  if (log_start >= base::Offset(0) && log_start < first) {
    Problem(absl::StrCat(directory, ": expected all records from offset ", log_start.value(),
                         " on, where the log starts; the first segment is ", first.value(),
                         ": the others are in tiered storage, or lost"));
  }
  // Where compaction or retention has left an empty one, and the active one, which may be.
  const base::Offset last = partition.segments.rbegin()->first;
  std::erase_if(partition.segments, [last](const auto& segment) {
    return segment.second == 0 && segment.first != last;
  });
  partition.log_start = std::max(log_start, partition.segments.begin()->first);
  const auto [at, added] = topic.partitions.try_emplace(name.partition, std::move(partition));
  if (!added) {
    Problem(absl::StrCat(directory, ": expected each partition once; ", at->second.directory,
                         " is the same one"));
  }
  return absl::OkStatus();
}

void Reader::Finish() {
  for (const auto* names : {&selection_.topics, &selection_.except}) {
    for (const std::string& name : *names) {
      if (!seen_.contains(name)) Problem(absl::StrCat("there is no topic ", name, " here"));
    }
  }
  for (auto& [name, topic] : topics_) {
    if (topic.partitions.empty()) continue;
    const int32_t count = topic.partitions.rbegin()->first + 1;
    for (int32_t i = 0; i < count; ++i) {
      if (topic.partitions.contains(i)) continue;
      Problem(absl::StrCat(name, ": expected partitions 0 to ", count - 1, "; ", i,
                           " is missing: name all log.dirs, or leave the topic out with --except"));
      break;
    }
    if (topic.id.IsZero()) {
      topic.id = base::Uuid::Random();
      topic.id_is_new = true;
    }
    dirs_->topics.push_back(std::move(topic));
  }
}

}  // namespace

int64_t KafkaPartition::bytes() const {
  int64_t sum = 0;
  for (const auto& [base, size] : segments) sum += size;
  return sum;
}

int64_t KafkaDirs::bytes() const {
  int64_t sum = 0;
  for (const KafkaTopic& topic : topics) {
    for (const auto& [number, partition] : topic.partitions) sum += partition.bytes();
  }
  return sum;
}

size_t KafkaDirs::partition_count() const {
  size_t count = 0;
  for (const KafkaTopic& topic : topics) count += topic.partitions.size();
  return count;
}

absl::StatusOr<KafkaDirs> ReadKafkaDirs(BlockingBackend& io, const std::vector<std::string>& paths,
                                        const KafkaSelection& selection) {
  KafkaDirs dirs;
  Reader reader(io, selection, &dirs);
  for (const std::string& path : paths) {
    RT_RETURN_IF_ERROR(reader.Read(std::string(absl::StripSuffix(path, "/"))));
  }
  if (dirs.problems.empty()) reader.Finish();
  return dirs;
}

}  // namespace ringtail::offline
