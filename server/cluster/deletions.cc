#include "server/cluster/deletions.h"

#include "absl/strings/str_cat.h"
#include "engine/base/logging.h"
#include "engine/io/file.h"
#include "engine/log/data_directory.h"

namespace ringtail::server {
namespace {

// A partition directory of a deleted topic. A topic made anew has the same directories and another
// id; one without any id is nobody's, unless there is such a topic.
task::Task<absl::Status> RemoveLeftBehind(io::Backend& io, std::string directory, base::Uuid id,
                                          bool name_taken) {
  const auto owner = co_await log::ReadPartitionMetadata(io, directory);
  const bool ours = owner.ok() ? *owner == id : absl::IsNotFound(owner.status()) && !name_taken;
  if (!ours) co_return absl::OkStatus();
  const absl::Status removed =
      co_await io::RemoveDirectoryWithFiles(io, directory, log::kPartitionMetadataFile);
  co_return absl::IsNotFound(removed) ? absl::OkStatus() : removed;
}

}  // namespace

task::Task<void> FinishDeletions(io::Backend& io, std::string data_directory,
                                 LocalCatalog& catalog) {
  const proto::catalog::CatalogFile file = catalog.file();
  for (const auto& tombstone : file.gone()) {
    base::Uuid id;
    if (!base::Uuid::FromBytes(base::AsBytes(tombstone.topic_id()), &id)) continue;
    const bool name_taken = catalog.image()->FindByName(tombstone.name()) != nullptr;
    bool whole = true;
    for (uint32_t partition = 0; partition < tombstone.partitions(); ++partition) {
      const std::string directory =
          absl::StrCat(data_directory, "/", tombstone.name(), "-", partition);
      const absl::Status removed = co_await RemoveLeftBehind(io, directory, id, name_taken);
      if (removed.ok()) continue;
      whole = false;
      RT_LOG(kError, "{}: left of a deleted topic, and cannot be removed: {}", directory,
             removed.message());
    }
    if (whole) co_await catalog.ForgetTopic(id);
  }
}

}  // namespace ringtail::server
