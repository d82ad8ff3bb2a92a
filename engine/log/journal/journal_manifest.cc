#include "engine/log/journal/journal_manifest.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/result.h"
#include "engine/io/file.h"

namespace ringtail::log {

namespace {
constexpr int64_t kReadBytesMax = 4096;
}  // namespace

task::Task<absl::StatusOr<Manifest>> ReadManifest(io::Backend& io, std::string data_dir) {
  const std::string path = JournalManifestPath(data_dir);
  const absl::StatusOr<std::string> bytes = co_await io::ReadWholeFile(io, path, kReadBytesMax);
  if (absl::IsOutOfRange(bytes.status())) {
    co_return absl::DataLossError(bytes.status().message());
  }
  if (!bytes.ok()) co_return bytes.status();
  absl::StatusOr<Manifest> manifest = DecodeManifest(base::AsBytes(*bytes));
  if (!manifest.ok()) {
    co_return absl::Status(manifest.status().code(),
                           absl::StrCat(path, ": ", manifest.status().message()));
  }
  co_return manifest;
}

task::Task<absl::Status> WriteManifest(io::Backend& io, std::string data_dir, Manifest manifest) {
  RT_CO_RETURN_IF_ERROR(co_await io::MakeDirectory(io, JournalDirectory(data_dir)));
  RT_CO_RETURN_IF_ERROR(co_await io::SyncDirectory(io, data_dir));
  co_return co_await io::ReplaceFile(io, JournalManifestPath(data_dir), EncodeManifest(manifest));
}

task::Task<absl::Status> MarkManifestClean(io::Backend& io, std::string data_dir) {
  RT_CO_ASSIGN_OR_RETURN(Manifest manifest, co_await ReadManifest(io, data_dir));
  manifest.state = ManifestState::kClean;
  co_return co_await WriteManifest(io, std::move(data_dir), manifest);
}

}  // namespace ringtail::log
