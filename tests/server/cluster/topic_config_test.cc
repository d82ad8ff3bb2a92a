#include "server/cluster/topic_config.h"

#include "absl/strings/match.h"
#include "gtest/gtest.h"

namespace ringtail::server {
namespace {

using Entries = std::map<std::string, std::string>;

std::string RefusalOf(const std::string& name, const std::string& value) {
  const auto parsed = ParseTopicConfig({{name, value}});
  EXPECT_FALSE(parsed.ok()) << name << "=" << value << " was taken";
  return std::string(parsed.status().message());
}

TEST(TopicConfigTest, EveryDefaultIsWhatParsingItGives) {
  Entries all;
  for (const TopicConfigEntry& entry : ListTopicConfig({})) {
    EXPECT_TRUE(entry.is_default) << entry.name;
    all[entry.name] = entry.value;
  }
  const auto spelled_out = ParseTopicConfig(all);
  const auto defaults = ParseTopicConfig({});
  ASSERT_TRUE(spelled_out.ok()) << spelled_out.status();
  ASSERT_TRUE(defaults.ok());
  EXPECT_EQ(spelled_out->segment_bytes, defaults->segment_bytes);
  EXPECT_EQ(spelled_out->segment_ms, defaults->segment_ms);
  EXPECT_EQ(spelled_out->max_message_bytes, defaults->max_message_bytes);
  EXPECT_EQ(spelled_out->index_interval_bytes, defaults->index_interval_bytes);
  EXPECT_EQ(spelled_out->segment_index_bytes, defaults->segment_index_bytes);
  EXPECT_EQ(spelled_out->log_append_time, defaults->log_append_time);
  EXPECT_EQ(spelled_out->min_insync_replicas, defaults->min_insync_replicas);
}

TEST(TopicConfigTest, TakesValuesAtTheEndsOfTheirRange) {
  const auto low = ParseTopicConfig({{"segment.bytes", "16384"},
                                     {"max.message.bytes", "61"},
                                     {"segment.ms", "1"},
                                     {"segment.index.bytes", "1024"},
                                     {"index.interval.bytes", "0"}});
  ASSERT_TRUE(low.ok()) << low.status();
  EXPECT_EQ(low->segment_bytes, 16384);
  EXPECT_EQ(low->max_message_bytes, 61);
  const auto high = ParseTopicConfig({{"segment.bytes", "2147483647"},
                                      {"max.message.bytes", "104857600"},
                                      {"segment.ms", "9223372036854775807"},
                                      {"index.interval.bytes", "2147483647"}});
  ASSERT_TRUE(high.ok()) << high.status();
  EXPECT_EQ(high->segment_bytes, INT32_MAX);
  EXPECT_EQ(high->segment_ms, INT64_MAX);
}

TEST(TopicConfigTest, RefusesWhatIsOutOfRangeOrNoNumber) {
  for (const char* value : {"16383", "2147483648", "", "abc", "1e6", "0x10000",
                            "99999999999999999999", "65536 bytes", "-1"}) {
    const std::string why = RefusalOf("segment.bytes", value);
    EXPECT_TRUE(absl::StrContains(why, "segment.bytes")) << why;
    EXPECT_TRUE(absl::StrContains(why, "16384")) << "names the range: " << why;
  }
  RefusalOf("min.insync.replicas", "2");
  RefusalOf("max.message.bytes", "104857601");
  RefusalOf("message.timestamp.type", "createtime");
}

TEST(TopicConfigTest, CleanupPolicies) {
  const auto parse = [](const std::string& policy) {
    const auto config = ParseTopicConfig({{"cleanup.policy", policy}});
    EXPECT_TRUE(config.ok()) << config.status();
    return std::pair(config->cleanup_delete, config->cleanup_compact);
  };
  EXPECT_EQ(parse("delete"), std::pair(true, false));
  EXPECT_EQ(parse("compact"), std::pair(false, true));
  EXPECT_EQ(parse("compact, delete"), std::pair(true, true));
}

TEST(TopicConfigTest, RefusesWhatWouldHaveNoEffect) {
  EXPECT_TRUE(absl::StrContains(RefusalOf("cleanup.policy", "shrink"), "delete, compact"));
  EXPECT_TRUE(absl::StrContains(RefusalOf("cleanup.policy", ""), "nothing"));
  EXPECT_TRUE(absl::StrContains(RefusalOf("min.cleanable.dirty.ratio", "1.1"), "0 to 1"));
  RefusalOf("min.cleanable.dirty.ratio", "nan");
  RefusalOf("max.compaction.lag.ms", "0");
  EXPECT_TRUE(absl::StrContains(RefusalOf("compression.type", "zstd"), "producer"));
  RefusalOf("retention.ms", "-2");
  RefusalOf("retention.bytes", "1G");
  RefusalOf("flush.messages", "10");
  RefusalOf("ringtail.durability", "none");
  const std::string unknown = RefusalOf("flush.ms", "1");
  EXPECT_TRUE(absl::StrContains(unknown, "flush.ms")) << unknown;
  EXPECT_TRUE(absl::StrContains(unknown, "segment.bytes")) << "says what is known: " << unknown;
}

TEST(TopicConfigTest, ListsWhatWasSetAsSet) {
  const auto list = ListTopicConfig({{"message.timestamp.type", "LogAppendTime"}});
  for (const TopicConfigEntry& entry : list) {
    EXPECT_EQ(entry.is_default, entry.name != "message.timestamp.type") << entry.name;
    if (!entry.is_default) EXPECT_EQ(entry.value, "LogAppendTime");
  }
  EXPECT_TRUE(ParseTopicConfig({{"message.timestamp.type", "LogAppendTime"}})->log_append_time);
}

TEST(TopicConfigTest, TopicNamesFollowKafkasRule) {
  for (const std::string& name :
       {std::string("a"), std::string("A.b_c-9"), std::string("..."), std::string("__offsets"),
        std::string("-"), std::string(249, 'x')}) {
    EXPECT_TRUE(ValidateTopicName(name).ok()) << name;
  }
  for (const std::string& name :
       {std::string(), std::string("."), std::string(".."), std::string(250, 'x'),
        std::string("a/b"), std::string("a b"), std::string("../a"), std::string("\xc3\xa9"),
        std::string("a\0b", 3), std::string("a\n")}) {
    const absl::Status status = ValidateTopicName(name);
    EXPECT_FALSE(status.ok()) << name;
    // Bytes that nobody vouched for do not go into logs.
    for (const char c : status.message()) EXPECT_GE(c, ' ');
  }
}

std::string ChangeRefused(const Entries& before, const ConfigChange& change) {
  const auto changed = ChangeTopicConfig(before, {change});
  EXPECT_FALSE(changed.ok()) << change.name << " was changed";
  return std::string(changed.status().message());
}

TEST(TopicConfigTest, ChangesSetAndResetEntries) {
  using Op = ConfigChange::Op;
  const Entries before = {{"retention.ms", "1000"}, {"segment.bytes", "65536"}};
  const auto changed = ChangeTopicConfig(before, {{.name = "retention.ms", .value = "2000"},
                                                  {.name = "segment.bytes", .op = Op::kDelete},
                                                  {.name = "segment.ms", .op = Op::kDelete},
                                                  {.name = "retention.bytes", .value = "5"}});
  ASSERT_TRUE(changed.ok()) << changed.status();
  EXPECT_EQ(*changed, (Entries{{"retention.ms", "2000"}, {"retention.bytes", "5"}}));
}

TEST(TopicConfigTest, OnlyListsGrowAndShrink) {
  using Op = ConfigChange::Op;
  const auto list = [](const Entries& before, Op op, const std::string& value) {
    const auto changed =
        ChangeTopicConfig(before, {{.name = "cleanup.policy", .op = op, .value = value}});
    return changed.ok() ? changed->at("cleanup.policy") : std::string(changed.status().message());
  };
  EXPECT_EQ(list({}, Op::kAppend, "compact"), "delete,compact") << "the default counts";
  EXPECT_EQ(list({}, Op::kAppend, "delete"), "delete");
  EXPECT_EQ(list({{"cleanup.policy", "delete,compact"}}, Op::kSubtract, "delete,x"), "compact");
  EXPECT_EQ(list({}, Op::kSubtract, "delete"), "");
  for (const Op op : {Op::kAppend, Op::kSubtract}) {
    const std::string why = ChangeRefused({}, {.name = "retention.ms", .op = op, .value = "1"});
    EXPECT_TRUE(absl::StrContains(why, "lists")) << why;
  }
}

TEST(TopicConfigTest, UnknownNamesAreRefusedInEveryOperationAndShownAsPrintable) {
  for (const auto op : {ConfigChange::Op::kSet, ConfigChange::Op::kDelete,
                        ConfigChange::Op::kAppend, ConfigChange::Op::kSubtract}) {
    const std::string why =
        ChangeRefused({}, {.name = std::string("no\xff\0such", 8), .op = op, .value = "1"});
    EXPECT_TRUE(absl::StrContains(why, "'no\\xff\\x00such'")) << why;
    EXPECT_TRUE(absl::StrContains(why, "retention.ms")) << why;
  }
  const std::string why = RefusalOf("segment.bytes", std::string(1 << 20, '\xc3'));
  EXPECT_LT(why.size(), 1000u);
}

TEST(TopicConfigTest, DefinitionsAreSortedAndSayWhatTheyMean) {
  absl::string_view last;
  for (const TopicConfigDefinition& each : TopicConfigDefinitions()) {
    EXPECT_LT(last, each.name);
    last = each.name;
    EXPECT_FALSE(each.help.empty()) << each.name;
    EXPECT_FALSE(each.broker_name.empty()) << each.name;
  }
}

}  // namespace
}  // namespace ringtail::server
