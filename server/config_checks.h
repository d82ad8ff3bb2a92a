// What holds between knobs and the machine: defaults that are computed, CPUs, addresses, ports.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/config.h"

namespace ringtail::server {

inline constexpr int kCoresMax = 1000;  // node ids have three digits for the core

// The CPUs of the cores: "" all of `allowed`, "5" five cores over `allowed` in turn, "0-3,8" these.
absl::StatusOr<std::vector<int>> ParseCores(absl::string_view text,
                                            const std::vector<int>& allowed);

enum class AddressKind : uint8_t { kLoopback, kAny, kOther };
// InvalidArgument: not an address literal.
absl::StatusOr<AddressKind> ClassifyAddress(const std::string& address);

// What single ranges cannot say of values that may change while the broker runs.
absl::Status CheckValues(const Config& config);

// Fills in what was not given and has no fixed default, then checks what single ranges cannot say.
absl::Status CompleteConfig(const ConfigEnvironment& environment, LoadedConfig* loaded);

}  // namespace ringtail::server
