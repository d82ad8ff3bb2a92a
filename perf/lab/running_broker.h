// A broker that runs already, on this machine: its live settings are what is swept. It gets topics
// of its own for that, which go afterwards, and its settings back.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace ringtail::lab {

class RunningBroker {
 public:
  // By its native port on loopback. `swept`: the settings that may change. Throws where there is no
  // broker, it does not know one of them, or its process cannot be seen from here.
  RunningBroker(uint16_t native_port, const std::vector<std::string>& swept);
  RunningBroker(const RunningBroker&) = delete;
  RunningBroker& operator=(const RunningBroker&) = delete;
  // Everything as it was. Says on stderr what could not be.
  ~RunningBroker();

  uint16_t native_port() const { return native_port_; }
  pid_t pid() const { return pid_; }

  // All that is swept as it was found, but one. Empty: that, too.
  void Set(const std::string& name, const std::string& value) const;
  // Its topics begin with this.
  std::string TopicName() const;
  void DeleteTopic(const std::string& name) const;

 private:
  uint16_t native_port_;
  pid_t pid_ = 0;
  // Of what is swept: what was set; nothing where flag, file or default held.
  std::map<std::string, std::string> set_;
  std::vector<std::string> unset_;
};

}  // namespace ringtail::lab
