// The bodies of the JSON pages. Text from clients (topic names, client ids) may be any bytes: what
// is not UTF-8 comes out as U+FFFD.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/admin/snapshot.h"

namespace ringtail::server::admin {

// {"status":..., "reason":...}; no reason where it is empty.
std::string StatusJson(const std::string& status, const std::string& reason);
// {"cores":[...]}; a core that said nothing is {"core":N,"status":"stalled"}.
std::string CoresJson(const std::vector<CoreSnapshot>& cores);
// {"partitions":[...],"stalled_cores":[...]}, by topic and partition.
std::string PartitionsJson(Answers<PartitionSnapshot> partitions);
// {"groups":[...],"stalled_cores":[...]}, by name; each with what it has committed and its lag.
std::string GroupsJson(Answers<GroupSnapshot> groups,
                       const std::vector<PartitionSnapshot>& partitions);
// {"connections":[...],"stalled_cores":[...]}
std::string ConnectionsJson(const Answers<ConnectionSnapshot>& connections);
std::string TasksText(const Answers<TaskSnapshot>& tasks);

}  // namespace ringtail::server::admin
