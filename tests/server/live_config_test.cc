#include "server/live_config.h"

#include <functional>
#include <map>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/config_knobs.h"

namespace ringtail::server {
namespace {

LoadedConfig Load(std::vector<absl::string_view> flags = {}) {
  ConfigEnvironment environment;
  environment.home = "/home/ann";
  environment.cpus = {0, 1};
  return *LoadConfig(flags, environment);
}

// How each knob that may be set is seen by what takes it: a value that is not the default, and
// where it must come out.
struct LiveKnob {
  std::string value;
  std::function<std::string(const LiveOptions&)> seen;
};

template <class T>
std::string Text(T value) {
  return absl::StrCat(value);
}

const std::map<std::string, LiveKnob>& LiveKnobs() {
  static const std::map<std::string, LiveKnob> knobs = {
      {"auto_create_topics",
       {"true", [](const LiveOptions& o) { return Text(o.broker->topic_defaults.auto_create); }}},
      {"default_partitions",
       {"7", [](const LiveOptions& o) { return Text(o.broker->topic_defaults.partitions); }}},
      {"pin_cores", {"false", [](const LiveOptions& o) { return Text(o.pin_threads); }}},
      {"busy_poll_us", {"0", [](const LiveOptions& o) { return Text(o.core.busy_poll_ns); }}},
      {"stall_report_ms",
       {"70", [](const LiveOptions& o) { return Text(o.core.stall_report_ns); }}},
      {"buffer_bytes_kept",
       {"1MiB", [](const LiveOptions& o) { return Text(o.core.buffer_bytes_kept); }}},
      {"io_file_workers_max", {"2", [](const LiveOptions& o) { return Text(o.workers.file_max); }}},
      {"io_other_workers_max",
       {"2", [](const LiveOptions& o) { return Text(o.workers.other_max); }}},
      {"io_worker_cpus", {"any", [](const LiveOptions& o) { return Text(o.workers.own_cpus); }}},
      {"send_path",
       {"splice", [](const LiveOptions& o) { return Text(static_cast<int>(o.send_path)); }}},
      {"send_rule",
       {"4096=copy,*=sendfile",
        [](const LiveOptions& o) { return Text(o.send_rule.copy_bytes_max()); }}},
      {"write_path",
       {"ring", [](const LiveOptions& o) { return Text(static_cast<int>(o.broker->write_path)); }}},
      {"inline_write_bytes_max",
       {"4096", [](const LiveOptions& o) { return Text(o.broker->inline_bytes_max); }}},
      {"cold_reads_at_once",
       {"5", [](const LiveOptions& o) { return Text(o.cold_reads_at_once); }}},
      {"connections_max", {"9", [](const LiveOptions& o) { return Text(o.connections_max); }}},
      {"connection_idle_s", {"9", [](const LiveOptions& o) { return Text(o.connection_idle_ns); }}},
      {"send_timeout_s", {"9", [](const LiveOptions& o) { return Text(o.send_timeout_ns); }}},
      {"log_level",
       {"debug", [](const LiveOptions& o) { return Text(static_cast<int>(o.log_level)); }}},
      {"journal_bypass_bytes",
       {"64KiB", [](const LiveOptions& o) { return Text(o.broker->journal_bypass_bytes); }}},
      {"journal_sync_age_ms",
       {"20", [](const LiveOptions& o) { return Text(o.broker->journal_sync_age_ns); }}},
      {"retention_check_ms",
       {"20", [](const LiveOptions& o) { return Text(o.broker->retention_check_ns); }}},
      {"compaction_check_ms",
       {"20", [](const LiveOptions& o) { return Text(o.broker->compaction.every_ns); }}},
      {"compaction_memory_bytes",
       {"1MiB", [](const LiveOptions& o) { return Text(o.broker->compaction.memory_bytes_max); }}},
      {"compaction_bytes_per_s",
       {"1MiB", [](const LiveOptions& o) { return Text(o.broker->compaction.bytes_per_s); }}},
  };
  return knobs;
}

TEST(LiveConfigTest, EveryLiveKnobReachesWhatTakesIt) {
  const LiveConfig live(Load());
  const auto start = live.Under({});
  for (const knobs::Field* field : knobs::All()) {
    if (!knobs::OptionsOf(field).live()) {
      EXPECT_EQ(LiveKnobs().count(field->name()), 0u) << field->name();
      continue;
    }
    const auto known = LiveKnobs().find(field->name());
    ASSERT_NE(known, LiveKnobs().end()) << field->name() << " is live, but nothing is said of it";
    const LiveKnob& knob = known->second;
    const Settings set = {{field->name(), knob.value}};
    EXPECT_TRUE(live.Check(set).ok()) << live.Check(set);
    EXPECT_NE(knob.seen(*live.Under(set)), knob.seen(*start)) << field->name();
  }
}

TEST(LiveConfigTest, WhatIsSetBeatsFlagsAndIsToldApart) {
  const LiveConfig live(Load({"--busy_poll_us=7", "--log_level=warn"}));
  const auto now = live.Under({{"busy_poll_us", "30"}, {"write_path", "ring"}});
  EXPECT_EQ(now->core.busy_poll_ns, 30'000);
  EXPECT_EQ(now->log_level, base::LogLevel::kWarn) << "what is not set stays";
  std::map<std::string, const BrokerConfig*> by_knob;
  for (const BrokerConfig& config : now->broker->configs) by_knob[config.knob] = &config;
  EXPECT_EQ(by_knob["busy_poll_us"]->value, "30");
  EXPECT_EQ(by_knob["busy_poll_us"]->start_value, "7");
  EXPECT_EQ(by_knob["busy_poll_us"]->default_value, "20");
  EXPECT_TRUE(by_knob["busy_poll_us"]->is_set && by_knob["busy_poll_us"]->live);
  EXPECT_EQ(by_knob["write_path"]->start_value, std::nullopt);
  EXPECT_FALSE(by_knob["log_level"]->is_set);
  EXPECT_FALSE(by_knob["data_dir"]->live);
  EXPECT_TRUE(absl::StrContains(ConfigJson(now->config), "\"source\": \"set\""));
  EXPECT_FALSE(absl::StrContains(ConfigJson(live.Under({})->config), "\"source\": \"set\""));
}

TEST(LiveConfigTest, WhatCannotBeSetSaysWhy) {
  const LiveConfig live(Load());
  const auto why = [&](const std::string& name, const std::string& value) {
    return std::string(live.Check({{name, value}}).message());
  };
  EXPECT_EQ(why("busy_pol_us", "1"),
            "unknown setting \"busy_pol_us\"; did you mean \"busy_poll_us\"?");
  EXPECT_EQ(why("busy_poll_us", "1001"), "busy_poll_us: expected 0..1000 us, came \"1001\"");
  EXPECT_EQ(why("busy_poll_us", ""),
            "busy_poll_us: expected a whole number in 0..1000 us, came \"\"");
  EXPECT_TRUE(absl::StrContains(why("kafka_port", "1"), "cannot be changed while"));
  EXPECT_EQ(why("send_rule", "fast").find("send_rule: "), 0u) << why("send_rule", "fast");
  EXPECT_EQ(why("send_rule", "fast").rfind("send_rule: "), 0u) << "its name comes once";
  EXPECT_TRUE(absl::StrContains(why("write_path", "tape"), "auto|ring|inline"));
}

// A newer program may have set it before this one was started on its directory.
TEST(LiveConfigTest, WhatThisProgramDoesNotTakeIsLeftOutAlone) {
  const LiveConfig live(Load());
  std::vector<std::string> left_out;
  const auto now =
      live.Under({{"busy_poll_us", "30"}, {"warp", "9"}, {"write_path", "tape"}}, &left_out);
  EXPECT_EQ(now->core.busy_poll_ns, 30'000);
  EXPECT_EQ(now->broker->write_path, log::WritePath::kAuto);
  ASSERT_EQ(left_out.size(), 2u);
  EXPECT_TRUE(absl::StrContains(left_out[0], "warp"));
}

TEST(LiveConfigTest, DescriptorsBoundTheConnections) {
  const LiveConfig live(Load(), 100);
  EXPECT_EQ(live.Under({})->connections_max, 100u);
  EXPECT_EQ(live.Under({{"connections_max", "50"}})->connections_max, 50u);
  EXPECT_EQ(live.Under({{"connections_max", "5000"}})->connections_max, 100u);
}

}  // namespace
}  // namespace ringtail::server
