// Appends: a batch to each of some files.
#include "absl/strings/str_cat.h"
#include "perf/lab/engine_writes.h"
#include "perf/lab/families.h"
#include "perf/lib/isolated.h"
#include "perf/lib/report.h"
#include "perf/raw/write_paths.h"

namespace ringtail::lab {
namespace {

using raw::WritePath;

constexpr int64_t kOperationBytesMax = 16 << 20;

struct Path {
  WritePath path;
  Promise promise;
};
constexpr Path kPaths[] = {
    {WritePath::kPwrite, Promise::kPageCache},
    {WritePath::kPwritevDontCache, Promise::kPageCache},
    {WritePath::kRing, Promise::kPageCache},
    {WritePath::kRingFixed, Promise::kPageCache},
    {WritePath::kDirect, Promise::kDevice},
    {WritePath::kRingDirect, Promise::kDevice},
    {WritePath::kPwriteFdatasync, Promise::kDurable},
    {WritePath::kPwritevDsync, Promise::kDurable},
    {WritePath::kDirectDsync, Promise::kDurable},
    {WritePath::kRingDirectDsync, Promise::kDurable},
};

Group MakeGroup(const Selection& selection, int64_t size, int files) {
  Group group;
  group.family = "write";
  group.parameters = {
      {"size", size, perf::SizeName(size)},
      {"files", files, files == 1 ? std::string("1 file") : absl::StrCat(files, " files")}};
  for (const Path& each : kPaths) {
    const raw::WriteOptions options = {selection.directory, each.path, size, files,
                                       selection.space_bytes};
    group.cells.push_back({raw::Name(each.path), false, each.promise, [options](double seconds) {
                             return perf::RunIsolated(
                                 [&] { return raw::RunWrites(options, seconds); },
                                 perf::DeadlineSeconds(seconds));
                           }});
  }
  const auto engine = [&](const char* name, log::WritePath path, bool journal) {
    const EngineWriteOptions options = {selection.directory,  size, files, path, journal,
                                        selection.space_bytes};
    group.cells.push_back(
        {name, true, journal ? Promise::kDurable : Promise::kPageCache, [options](double seconds) {
           return perf::RunIsolated([&] { return RunEngineWrites(options, seconds); },
                                    perf::DeadlineSeconds(seconds));
         }});
  };
  engine(kAppendAuto, log::WritePath::kAuto, false);
  engine(kAppendInline, log::WritePath::kInline, false);
  engine(kAppendRing, log::WritePath::kRing, false);
  engine("journal", log::WritePath::kAuto, true);
  return group;
}

}  // namespace

std::vector<Group> WriteGroups(const Selection& selection) {
  std::vector<int64_t> sizes = selection.size_bytes;
  if (sizes.empty() && selection.quick) sizes = {4 << 10, 64 << 10};
  if (sizes.empty()) sizes = {4 << 10, 64 << 10, 1 << 20};
  std::vector<Group> groups;
  for (const int64_t size : sizes) {
    for (const int files : selection.quick ? std::vector<int>{1, 16} : std::vector<int>{1, 8, 64}) {
      if (size * files > kOperationBytesMax && files > 1) continue;
      if (selection.quick && size > (4 << 10) && files > 1) continue;
      groups.push_back(MakeGroup(selection, size, files));
    }
  }
  return groups;
}

}  // namespace ringtail::lab
