#include "server/config_checks.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <bit>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "engine/base/result.h"
#include "engine/io/send_rule.h"

namespace ringtail::server {
namespace {

std::string CpuListText(const std::vector<int>& cpus) {
  std::vector<std::string> runs;
  for (size_t first = 0; first < cpus.size();) {
    size_t last = first;
    while (last + 1 < cpus.size() && cpus[last + 1] == cpus[last] + 1) ++last;
    runs.push_back(first == last ? absl::StrCat(cpus[first])
                                 : absl::StrCat(cpus[first], "-", cpus[last]));
    first = last + 1;
  }
  return absl::StrJoin(runs, ",");
}

absl::Status BadCores(absl::string_view text, absl::string_view why) {
  return absl::InvalidArgumentError(
      absl::StrCat("cores: expected a number of cores in 1..", kCoresMax,
                   " or a list of CPUs like \"0-3,8\", came \"", text, "\"", why));
}

bool ParseCpu(absl::string_view text, int* cpu) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; }) &&
         absl::SimpleAtoi(text, cpu);
}

absl::StatusOr<std::vector<int>> ParseCpuList(absl::string_view text,
                                              const std::vector<int>& allowed) {
  std::vector<int> cpus;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    const std::vector<absl::string_view> ends = absl::StrSplit(part, '-');
    int first = 0, last = 0;
    if (ends.size() > 2 || !ParseCpu(ends.front(), &first) || !ParseCpu(ends.back(), &last) ||
        last < first) {
      return BadCores(text, "");
    }
    for (int cpu = first; cpu <= last; ++cpu) {
      if (!std::binary_search(allowed.begin(), allowed.end(), cpu)) {
        return BadCores(text, absl::StrCat("; this process may use CPUs ", CpuListText(allowed),
                                           ", not ", cpu));
      }
      cpus.push_back(cpu);
    }
  }
  if (std::set<int>(cpus.begin(), cpus.end()).size() != cpus.size()) {
    return BadCores(text, "; a CPU is named twice");
  }
  if (cpus.size() > kCoresMax) return BadCores(text, "");
  return cpus;
}

void FillDefaults(const ConfigEnvironment& environment, LoadedConfig* loaded) {
  Config& config = loaded->config;
  if (config.data_dir().empty()) {
    if (environment.root) {
      config.set_data_dir("/var/lib/ringtail");
    } else if (!environment.xdg_data_home.empty() && environment.xdg_data_home[0] == '/') {
      config.set_data_dir(absl::StrCat(environment.xdg_data_home, "/ringtail"));
    } else if (!environment.home.empty()) {
      config.set_data_dir(absl::StrCat(environment.home, "/.local/share/ringtail"));
    }
  }
  if (!config.has_pin_cores()) {
    const std::set<int> distinct(loaded->cpus.begin(), loaded->cpus.end());
    config.set_pin_cores((!config.cores().empty() || environment.cpus.size() > 1) &&
                         distinct.size() == loaded->cpus.size());
  }
  config.set_cores(config.cores());
  config.set_ports_file(config.ports_file());
}

absl::Status CheckAddress(const char* name, const std::string& address, const Config& config,
                          LoadedConfig* loaded) {
  const absl::StatusOr<AddressKind> kind = ClassifyAddress(address);
  if (!kind.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": ", kind.status().message()));
  }
  if (*kind == AddressKind::kLoopback) return absl::OkStatus();
  if (!config.allow_unauthenticated()) {
    return absl::InvalidArgumentError(absl::StrCat(
        name, ": ", address, " is reachable from outside, and there is no authentication yet: add ",
        "--allow_unauthenticated if everybody who reaches it may read and write everything"));
  }
  loaded->warnings.push_back(absl::StrCat(
      name, "=", address, ": everybody who reaches this address may use it without a password"));
  return absl::OkStatus();
}

absl::Status FillAdvertiseHost(const ConfigEnvironment& environment, Config* config) {
  RT_ASSIGN_OR_RETURN(const AddressKind kind, ClassifyAddress(config->listen()));
  if (config->advertise_host().empty()) {
    config->set_advertise_host(kind == AddressKind::kAny ? environment.host_name
                                                         : config->listen());
  }
  const std::string& host = config->advertise_host();
  const bool fits = !host.empty() && host.size() <= 253 &&
                    std::all_of(host.begin(), host.end(), [](unsigned char c) {
                      return c > ' ' && c < 0x7f && c != '/' && c != '"' && c != ',';
                    });
  if (fits) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("advertise_host: expected a host name or address, came \"", host, "\""));
}

// The ports of one protocol: the shared one and one per core.
struct PortRange {
  const char* name;
  int64_t first;
  int64_t last;
};

absl::Status CheckPorts(const Config& config, int64_t cores) {
  std::vector<PortRange> taken;
  for (const PortRange& range :
       {PortRange{"kafka_port", config.kafka_port(), config.kafka_port() + cores},
        PortRange{"native_port", config.native_port(), config.native_port() + cores},
        PortRange{"admin_port", config.admin_port(), config.admin_port()}}) {
    if (range.first == 0) continue;  // the kernel picks, and never one that is taken
    if (range.last > 65535) {
      return absl::InvalidArgumentError(
          absl::StrCat(range.name, ": ", cores, " cores need the ports ", range.first, "..",
                       range.last, "; expected at most ", 65535 - cores, ", or 0"));
    }
    for (const PortRange& other : taken) {
      if (range.first > other.last || range.last < other.first) continue;
      return absl::InvalidArgumentError(
          absl::StrCat(range.name, ": its ports ", range.first, "..", range.last,
                       " overlap those of ", other.name, ", ", other.first, "..", other.last,
                       " (one shared, and one for each of ", cores, " cores)"));
    }
    taken.push_back(range);
  }
  return absl::OkStatus();
}

absl::Status CheckSizes(const Config& config) {
  if (!std::has_single_bit(static_cast<uint64_t>(config.provided_buffers()))) {
    return absl::InvalidArgumentError(absl::StrCat(
        "provided_buffers: expected a power of two in 1..32768, came ", config.provided_buffers()));
  }
  if (config.connection_bytes_max() > config.core_bytes_max()) {
    return absl::InvalidArgumentError(
        absl::StrCat("connection_bytes_max: expected at most core_bytes_max (",
                     config.core_bytes_max(), "), came ", config.connection_bytes_max()));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckValues(const Config& config) {
  if (const auto rule = io::ParseSendRule(config.send_rule()); !rule.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("send_rule: ", rule.status().message()));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<int>> ParseCores(absl::string_view text,
                                            const std::vector<int>& allowed) {
  if (allowed.empty()) return absl::InternalError("cores: this process may use no CPU");
  std::vector<int> cpus;
  int count = 0;
  if (text.empty()) {
    cpus = allowed;
    if (cpus.size() > kCoresMax) cpus.resize(kCoresMax);
    return cpus;
  }
  if (text.find_first_of(",-") != absl::string_view::npos) return ParseCpuList(text, allowed);
  if (!ParseCpu(text, &count) || count < 1 || count > kCoresMax) return BadCores(text, "");
  for (int core = 0; core < count; ++core) {
    cpus.push_back(allowed[static_cast<size_t>(core) % allowed.size()]);
  }
  return cpus;
}

absl::StatusOr<AddressKind> ClassifyAddress(const std::string& address) {
  in_addr v4{};
  in6_addr v6{};
  if (inet_pton(AF_INET, address.c_str(), &v4) == 1) {
    const uint32_t bits = ntohl(v4.s_addr);
    if (bits >> 24 == 127) return AddressKind::kLoopback;
    return bits == 0 ? AddressKind::kAny : AddressKind::kOther;
  }
  if (inet_pton(AF_INET6, address.c_str(), &v6) == 1) {
    if (IN6_IS_ADDR_LOOPBACK(&v6)) return AddressKind::kLoopback;
    if (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127) return AddressKind::kLoopback;
    return IN6_IS_ADDR_UNSPECIFIED(&v6) ? AddressKind::kAny : AddressKind::kOther;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "expected an address like 127.0.0.1, 0.0.0.0 or ::1 and not a name, came \"", address, "\""));
}

absl::Status CompleteConfig(const ConfigEnvironment& environment, LoadedConfig* loaded) {
  Config& config = loaded->config;
  RT_ASSIGN_OR_RETURN(loaded->cpus, ParseCores(config.cores(), environment.cpus));
  FillDefaults(environment, loaded);
  if (config.data_dir().empty()) {
    return absl::InvalidArgumentError(
        "data_dir: expected a directory, came none; without $HOME there is no default, so give "
        "--data_dir=PATH");
  }
  RT_RETURN_IF_ERROR(CheckAddress("listen", config.listen(), config, loaded));
  RT_RETURN_IF_ERROR(CheckAddress("admin_listen", config.admin_listen(), config, loaded));
  RT_RETURN_IF_ERROR(FillAdvertiseHost(environment, &config));
  RT_RETURN_IF_ERROR(CheckValues(config));
  RT_RETURN_IF_ERROR(CheckPorts(config, static_cast<int64_t>(loaded->cpus.size())));
  if (loaded->cpus.size() > environment.cpus.size()) {
    loaded->warnings.push_back(absl::StrCat("cores=", config.cores(), " on ",
                                            environment.cpus.size(),
                                            " CPUs: cores will wait for each other"));
  }
  return CheckSizes(config);
}

}  // namespace ringtail::server
