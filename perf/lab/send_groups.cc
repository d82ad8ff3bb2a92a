// Sends of file ranges to clients that ask for them.
#include <exception>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "perf/lab/engine_sends.h"
#include "perf/lab/families.h"
#include "perf/lib/chunk_client.h"
#include "perf/lib/isolated.h"
#include "perf/lib/os.h"
#include "perf/lib/report.h"
#include "perf/raw/chunk_server.h"
#include "perf/raw/fetch.h"

namespace ringtail::lab {
namespace {

using raw::ChunkMethod;

constexpr ChunkMethod kMethods[] = {ChunkMethod::kSendfile,   ChunkMethod::kReadSend,
                                    ChunkMethod::kSplice,     ChunkMethod::kMapped,
                                    ChunkMethod::kRingSplice, ChunkMethod::kRingMapped,
                                    ChunkMethod::kZeroCopy,   ChunkMethod::kZeroCopyFixed};
constexpr io::SendPath kEnginePaths[] = {io::SendPath::kAuto,         io::SendPath::kSendfile,
                                         io::SendPath::kCopy,         io::SendPath::kMapped,
                                         io::SendPath::kSendZeroCopy, io::SendPath::kSplice};

constexpr int64_t kHotBytes = 64 << 20;
constexpr int64_t kColdBytes = 256 << 20;
constexpr int kWindow = 2;
constexpr double kServerEndSeconds = 5;

// What all cells of a run send from; made when the first one needs it.
class SourceFile {
 public:
  SourceFile(std::string directory, int64_t bytes, bool cold)
      : directory_(std::move(directory)), bytes_(bytes), cold_(cold) {}

  // As hot, or as cold, as it should be.
  const std::string& Ready() {
    if (scratch_ == nullptr) {
      scratch_ = std::make_unique<perf::ScratchDir>(directory_);
      path_ = raw::MakeHotFile(scratch_->path(), bytes_);
    }
    if (cold_) raw::DropFromCache(path_);
    return path_;
  }
  int64_t bytes() const { return bytes_; }
  bool cold() const { return cold_; }

 private:
  const std::string directory_;
  const int64_t bytes_;
  const bool cold_;
  std::unique_ptr<perf::ScratchDir> scratch_;
  std::string path_;
};

using Serve = std::function<void(const raw::ChunkOptions& options, int listener)>;

perf::Figures Measure(SourceFile& source, raw::ChunkOptions options, const Serve& serve,
                      double seconds) {
  options.file = source.Ready();
  return perf::RunIsolated(
      [&] {
        const perf::Listener listener = perf::ListenLoopback();
        perf::Isolated server(perf::kServerCpu, [&] {
          serve(options, listener.fd.get());
          return perf::Figures();
        });
        perf::PinToCpu(perf::kClientCpu);
        perf::ChunkLoad load = {options.connections, kWindow, raw::kFetchRequestBytes,
                                options.chunk_bytes, 0};
        if (options.cold) load.bytes_max = source.bytes();
        try {
          return perf::RunChunkClient(listener.port, server.pid(), load, seconds);
        } catch (const std::exception&) {
          server.Await(kServerEndSeconds);  // its own words, if it failed first
          throw;
        }
      },
      perf::DeadlineSeconds(seconds));
}

Group MakeGroup(const std::shared_ptr<SourceFile>& source, int64_t size, int connections) {
  Group group;
  group.family = "send";
  group.parameters = {
      {"residency", source->cold() ? 1 : 0, source->cold() ? "cold" : "hot"},
      {"size", size, perf::SizeName(size)},
      {"connections", connections,
       connections == 1 ? "1 connection" : absl::StrCat(connections, " connections")}};
  raw::ChunkOptions options;
  options.chunk_bytes = size;
  options.connections = connections;
  options.cold = source->cold();
  const auto add = [&](const std::string& path, bool engine, const Serve& serve) {
    group.cells.push_back({path, engine, Promise::kNone, [=](double seconds) {
                             return Measure(*source, options, serve, seconds);
                           }});
  };
  for (const ChunkMethod method : kMethods) {
    add(raw::Name(method), false, [method](const raw::ChunkOptions& given, int listener) {
      raw::ChunkOptions mine = given;
      mine.method = method;
      raw::ServeChunks(mine, listener);
    });
  }
  for (const io::SendPath path : kEnginePaths) {
    const auto name = io::SendPathName(path);
    add(SenderName({name.data(), name.size()}), true,
        [path](const raw::ChunkOptions& given, int listener) {
          ServeByEngine(given, path, listener);
        });
  }
  return group;
}

}  // namespace

std::vector<Group> SendGroups(const Selection& selection) {
  std::vector<int64_t> sizes = selection.size_bytes;
  if (sizes.empty() && selection.quick) sizes = {4 << 10, 64 << 10, 1 << 20};
  if (sizes.empty()) sizes = {1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20};
  std::vector<Group> groups;
  for (const bool cold : {false, true}) {
    const int64_t bytes = std::min(cold ? kColdBytes : kHotBytes, selection.space_bytes);
    const auto source = std::make_shared<SourceFile>(selection.directory, bytes, cold);
    for (const int64_t size : sizes) {
      for (const int connections : {1, 16}) {
        if (cold && size < (64 << 10)) continue;  // each would wait for its own few pages
        // Of many connections and of what is cold, one size each.
        if (selection.quick && (connections > 1) != (!cold && size == (64 << 10))) continue;
        if (selection.quick && cold && size != sizes.back()) continue;
        if (size * connections > bytes) continue;
        groups.push_back(MakeGroup(source, size, connections));
      }
    }
  }
  return groups;
}

}  // namespace ringtail::lab
