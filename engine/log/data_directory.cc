#include "engine/log/data_directory.h"

#include <fcntl.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "engine/base/result.h"
#include "engine/io/file.h"
#include "engine/log/segment_name.h"
#include "engine/task/scheduler.h"
#include "engine/task/sync.h"

namespace ringtail::log {
namespace {

constexpr int64_t kFileBytesMax = 64 << 20;
constexpr int32_t kMetaPropertiesVersion = 1;

task::Task<absl::StatusOr<std::string>> ReadFile(io::Backend& io, std::string data_dir,
                                                 std::string file) {
  co_return co_await io::ReadWholeFile(io, data_dir + "/" + file, kFileBytesMax);
}

}  // namespace

std::string MetaProperties::Encode() const {
  return absl::StrCat("#\ncluster.id=", cluster_id, "\ndirectory.id=", directory_id.ToString(),
                      "\nnode.id=", node_id, "\nversion=1\n");
}

absl::StatusOr<MetaProperties> MetaProperties::Decode(absl::string_view text) {
  MetaProperties properties;
  bool version_ok = false;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    if (line.empty() || line[0] == '#' || line[0] == '!') continue;
    const std::pair<absl::string_view, absl::string_view> entry =
        absl::StrSplit(line, absl::MaxSplits('=', 1));
    const auto [key, value] = entry;
    bool ok = true;
    if (key == "version") {
      int32_t version = 0;
      if (absl::SimpleAtoi(value, &version) && version > kMetaPropertiesVersion) {
        return absl::FailedPreconditionError(
            absl::StrCat("meta.properties: version ", version, ", this program knows ",
                         kMetaPropertiesVersion, "; use a newer ringtaild"));
      }
      ok = version_ok = version == kMetaPropertiesVersion;
    } else if (key == "cluster.id") {
      properties.cluster_id = std::string(value);
    } else if (key == "node.id") {
      ok = absl::SimpleAtoi(value, &properties.node_id);
    } else if (key == "directory.id") {
      ok = base::Uuid::FromString(value, &properties.directory_id);
    }
    if (!ok) return absl::DataLossError(absl::StrCat("meta.properties: bad value: ", line));
  }
  if (!version_ok) return absl::DataLossError("meta.properties: no version 1");
  return properties;
}

std::string EncodeOffsetCheckpoint(const OffsetCheckpoint& offsets) {
  std::string text = absl::StrCat("0\n", offsets.size(), "\n");
  for (const auto& [partition, offset] : offsets) {
    absl::StrAppend(&text, partition.first, " ", partition.second, " ", offset.value(), "\n");
  }
  return text;
}

absl::StatusOr<OffsetCheckpoint> DecodeOffsetCheckpoint(absl::string_view text) {
  const std::vector<absl::string_view> lines = absl::StrSplit(text, '\n', absl::SkipWhitespace());
  size_t count = 0;
  if (lines.size() < 2 || lines[0] != "0" || !absl::SimpleAtoi(lines[1], &count) ||
      count != lines.size() - 2) {
    return absl::DataLossError("checkpoint: not version 0 or entries missing");
  }
  OffsetCheckpoint offsets;
  for (size_t i = 2; i < lines.size(); ++i) {
    const std::vector<absl::string_view> fields = absl::StrSplit(lines[i], ' ');
    int32_t partition = 0;
    int64_t offset = 0;
    if (fields.size() != 3 || !absl::SimpleAtoi(fields[1], &partition) ||
        !absl::SimpleAtoi(fields[2], &offset) || partition < 0) {
      return absl::DataLossError("checkpoint: a line that is no entry");
    }
    offsets[{std::string(fields[0]), partition}] = base::Offset(offset);
  }
  return offsets;
}

task::Task<absl::StatusOr<MetaProperties>> ReadMetaProperties(io::Backend& io,
                                                              std::string data_dir) {
  RT_CO_ASSIGN_OR_RETURN(const std::string text,
                         co_await ReadFile(io, data_dir, kMetaPropertiesFile));
  co_return MetaProperties::Decode(text);
}

task::Task<absl::Status> WriteMetaProperties(io::Backend& io, std::string data_dir,
                                             MetaProperties properties) {
  co_return co_await io::ReplaceFile(io, data_dir + "/" + kMetaPropertiesFile, properties.Encode());
}

task::Task<absl::StatusOr<OffsetCheckpoint>> ReadOffsetCheckpoint(io::Backend& io,
                                                                  std::string data_dir,
                                                                  std::string file) {
  const absl::StatusOr<std::string> text = co_await ReadFile(io, data_dir, file);
  if (absl::IsNotFound(text.status())) co_return OffsetCheckpoint{};
  if (!text.ok()) co_return text.status();
  auto offsets = DecodeOffsetCheckpoint(*text);
  if (offsets.ok()) co_return offsets;
  co_return absl::Status(offsets.status().code(),
                         absl::StrCat(data_dir, "/", file, ": ", offsets.status().message()));
}

task::Task<absl::Status> WriteOffsetCheckpoint(io::Backend& io, std::string data_dir,
                                               std::string file, OffsetCheckpoint offsets) {
  co_return co_await io::ReplaceFile(io, data_dir + "/" + file, EncodeOffsetCheckpoint(offsets));
}

task::Task<absl::StatusOr<bool>> TakeCleanShutdown(io::Backend& io, std::string data_dir) {
  const absl::Status removed = co_await io::Unlink(io, data_dir + "/" + kCleanShutdownFile);
  if (absl::IsNotFound(removed)) co_return false;
  if (!removed.ok()) co_return removed;
  RT_CO_RETURN_IF_ERROR(co_await io::SyncDirectory(io, data_dir));
  co_return true;
}

// The content is Kafka's (CleanShutdownFileHandler): a broker epoch, unknown here.
task::Task<absl::Status> MarkCleanShutdown(io::Backend& io, std::string data_dir) {
  co_return co_await io::ReplaceFile(io, data_dir + "/" + kCleanShutdownFile,
                                     "{\"version\":0,\"brokerEpoch\":-1}");
}

std::string EncodePartitionMetadata(const base::Uuid& topic_id) {
  return absl::StrCat("version: 0\ntopic_id: ", topic_id.ToString(), "\n");
}

absl::StatusOr<base::Uuid> DecodePartitionMetadata(absl::string_view text) {
  const std::vector<absl::string_view> lines = absl::StrSplit(text, '\n', absl::SkipWhitespace());
  base::Uuid id;
  if (lines.size() < 2 || lines[0] != "version: 0") {
    return absl::DataLossError("partition.metadata: not version 0");
  }
  absl::string_view value = lines[1];
  if (!absl::ConsumePrefix(&value, "topic_id: ") || !base::Uuid::FromString(value, &id)) {
    return absl::DataLossError("partition.metadata: no topic id");
  }
  return id;
}

task::Task<absl::StatusOr<base::Uuid>> ReadPartitionMetadata(io::Backend& io,
                                                             std::string directory) {
  RT_CO_ASSIGN_OR_RETURN(const std::string text,
                         co_await ReadFile(io, directory, kPartitionMetadataFile));
  co_return DecodePartitionMetadata(text);
}

namespace {

constexpr size_t kDirectoriesAtOnce = 32;

task::Task<absl::Status> MakeUnnamed(io::Backend& io, const NewDirectory& directory) {
  RT_CO_RETURN_IF_ERROR(co_await io::MakeDirectory(io, directory.path));
  // Its first segment, too: made by the first append of each of many partitions, these files take
  // more than half of what such a first round costs.
  RT_CO_RETURN_IF_ERROR(co_await io::WriteNewFile(
      io, absl::StrCat(directory.path, "/", SegmentFileName(base::Offset(0), kLogSuffix)), "",
      /*sync=*/false));
  co_return co_await io::WriteNewFile(
      io, absl::StrCat(directory.path, "/", kPartitionMetadataFile, ".tmp"),
      EncodePartitionMetadata(directory.topic_id), /*sync=*/false);
}

task::Task<absl::Status> Name(io::Backend& io, const NewDirectory& directory) {
  const std::string path = absl::StrCat(directory.path, "/", kPartitionMetadataFile);
  co_return co_await io::Rename(io, absl::StrCat(path, ".tmp"), path);
}

using Step = task::Task<absl::Status> (*)(io::Backend& io, const NewDirectory& directory);

struct ForEach {
  const std::vector<NewDirectory>& directories;
  Step step;
  size_t next = 0;
  absl::Status status;
  task::Latch latch;
};

task::Task<void> Work(io::Backend& io, ForEach* all) {
  while (all->status.ok() && all->next < all->directories.size()) {
    const absl::Status done = co_await all->step(io, all->directories[all->next++]);
    all->status.Update(done);
  }
  all->latch.Done();
}

task::Task<absl::Status> OnEach(io::Backend& io, const std::vector<NewDirectory>& directories,
                                Step step) {
  ForEach all{.directories = directories, .step = step};
  for (size_t i = 0; i < std::min(kDirectoriesAtOnce, directories.size()); ++i) {
    all.latch.Add();
    task::Spawn("make directories", Work(io, &all));
  }
  co_await all.latch.Wait();
  co_return all.status;
}

}  // namespace

task::Task<absl::Status> MakePartitionDirectories(io::Backend& io,
                                                  std::vector<NewDirectory> directories,
                                                  std::function<task::Task<absl::Status>()> sync) {
  RT_CO_RETURN_IF_ERROR(co_await OnEach(io, directories, &MakeUnnamed));
  RT_CO_RETURN_IF_ERROR(co_await sync());
  RT_CO_RETURN_IF_ERROR(co_await OnEach(io, directories, &Name));
  co_return co_await sync();
}

bool ParsePartitionDirectory(absl::string_view name, PartitionDirectory* out) {
  const size_t dash = name.rfind('-');
  if (dash == absl::string_view::npos || dash == 0) return false;
  const absl::string_view number = name.substr(dash + 1);
  int32_t partition = 0;
  // "00" or "+1" would name the same partition as another directory.
  if (!absl::SimpleAtoi(number, &partition) || partition < 0 || absl::StrCat(partition) != number) {
    return false;
  }
  out->topic = std::string(name.substr(0, dash));
  out->partition = partition;
  return true;
}

}  // namespace ringtail::log
