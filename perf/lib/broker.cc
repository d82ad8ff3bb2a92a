#include "perf/lib/broker.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "perf/lib/check.h"
#include "perf/lib/clock.h"

namespace ringtail::perf {
namespace {

constexpr int64_t kReadyTimeoutNs = 20 * kNsPerSecond;
constexpr size_t kLogTailBytes = 2000;

std::string Contents(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::string LogTail(const std::string& path) {
  const std::string log = Contents(path);
  return log.substr(log.size() - std::min(log.size(), kLogTailBytes));
}

}  // namespace

Broker::Broker(const std::string& program, const std::vector<std::string>& flags,
               const std::string& parent_directory)
    : directory_(parent_directory),
      data_directory_(directory_.path() + "/data"),
      ports_file_(directory_.path() + "/ports.json"),
      log_file_(directory_.path() + "/broker.log"),
      arguments_{program,          "--data_dir=" + data_directory_,
                 "--kafka_port=0", "--native_port=0",
                 "--admin_port=0", "--ports_file=" + ports_file_} {
  // What the first comparisons were made for: a raw loop has no journal either. Flags come behind,
  // and win.
  arguments_.push_back("--durability=page_cache");
  arguments_.insert(arguments_.end(), flags.begin(), flags.end());
  Restart();
}

void Broker::Kill() { child_.Kill(); }

void Broker::Restart() {
  Require(!child_.Running(), "the broker still runs");
  unlink(ports_file_.c_str());
  const int64_t start_ns = NowNs();
  child_ = Child::Spawn(arguments_, log_file_);
  WaitUntilReady();
  start_to_ready_ms_ = static_cast<double>(NowNs() - start_ns) / 1e6;
  const nlohmann::json ports = nlohmann::json::parse(Contents(ports_file_));
  native_port_ = ports.at("native").get<uint16_t>();
  kafka_port_ = ports.at("kafka").get<uint16_t>();
}

void Broker::WaitUntilReady() {
  const int64_t deadline_ns = NowNs() + kReadyTimeoutNs;
  while (access(ports_file_.c_str(), R_OK) != 0) {
    Require(child_.Running(), "the broker ended before it served:\n" + LogTail(log_file_));
    Require(NowNs() < deadline_ns, "the broker does not come up:\n" + LogTail(log_file_));
    usleep(200);
  }
}

}  // namespace ringtail::perf
