#include "perf/lab/running_broker.h"

#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <fstream>
#include <stdexcept>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "perf/lib/native.h"

namespace ringtail::lab {
namespace {

constexpr char kTopicPrefix[] = "ringtail-lab-";

bool IsRingtaild(pid_t pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/comm"));
  std::string name;
  return std::getline(file, name) && name == "ringtaild";
}

}  // namespace

RunningBroker::RunningBroker(uint16_t native_port, const std::vector<std::string>& swept)
    : native_port_(native_port) {
  proto::client::RequestHeader request;
  request.mutable_describe_broker();
  perf::NativeConnection connection(native_port);
  const auto reply = connection.Call(request);
  const auto& described = reply.describe_broker();
  pid_ = static_cast<pid_t>(described.process_id());
  if (!IsRingtaild(pid_)) {
    throw std::runtime_error(
        "the broker's process cannot be seen from here, and so not its CPU time: run this beside "
        "it "
        "(in its container), as its user or root");
  }
  for (const std::string& name : swept) {
    const auto found = std::find_if(described.configs().begin(), described.configs().end(),
                                    [&name](const auto& config) { return config.name() == name; });
    if (found == described.configs().end()) {
      throw std::runtime_error(absl::StrCat("the broker has no setting ", name));
    }
    if (found->source() == "set") {
      set_[name] = found->value();
    } else {
      unset_.push_back(name);
    }
  }
}

RunningBroker::~RunningBroker() {
  try {
    Set("", "");
    perf::NativeConnection connection(native_port_);
    proto::client::RequestHeader request;
    request.mutable_metadata()->set_all_topics(true);
    const auto reply = connection.Call(request);
    for (const auto& topic : reply.metadata().topics()) {
      if (absl::StartsWith(topic.name(), kTopicPrefix)) DeleteTopic(topic.name());
    }
  } catch (const std::exception& error) {
    fprintf(stderr, "The broker's settings or topics (%s*) are not as before: %s\n", kTopicPrefix,
            error.what());
  }
}

void RunningBroker::Set(const std::string& name, const std::string& value) const {
  proto::client::RequestHeader request;
  auto* alter = request.mutable_alter_broker();
  const auto set = [alter](const std::string& key, const std::string& to) {
    auto* entry = alter->add_set();
    entry->set_name(key);
    entry->set_value(to);
  };
  for (const auto& [key, before] : set_) {
    if (key != name) set(key, before);
  }
  for (const std::string& key : unset_) {
    if (key != name) alter->add_reset(key);
  }
  if (!name.empty()) set(name, value);
  perf::NativeConnection connection(native_port_);
  connection.Call(request);
}

std::string RunningBroker::TopicName() const {
  // Each measurement is a process of its own.
  return absl::StrCat(kTopicPrefix, getpid());
}

void RunningBroker::DeleteTopic(const std::string& name) const {
  proto::client::RequestHeader request;
  request.mutable_delete_topic()->set_name(name);
  perf::NativeConnection connection(native_port_);
  connection.Call(request);
}

}  // namespace ringtail::lab
