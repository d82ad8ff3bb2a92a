#include "server/group/group_records.h"

#include <fstream>
#include <map>
#include <sstream>

#include "absl/strings/escaping.h"
#include "gtest/gtest.h"
#include "server/group/partition_of.h"
#include "tests/server/group/group_harness.h"

namespace ringtail::group {
namespace {

constexpr char kGoldenFile[] = "tests/server/group/golden/group_records.txt";

// "NAME VERSION" -> bytes.
std::map<std::string, std::string> Golden() {
  std::map<std::string, std::string> golden;
  std::ifstream file(kGoldenFile);
  EXPECT_TRUE(file.good());
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string name, version, hex;
    words >> name >> version >> hex;
    golden[name + " " + version] = absl::HexStringToBytes(hex);
  }
  return golden;
}

CommittedOffset Offset() {
  return {.offset = 123456789012,
          .leader_epoch = 5,
          .metadata = "meta",
          .commit_time_ms = 1700000000123};
}

GroupRecord Record() {
  return {.protocol_type = "consumer",
          .generation = 3,
          .protocol = "range",
          .leader = "client-1",
          .state_time_ms = 1700000000123,
          .members = {{.member_id = "client-1",
                       .client_id = "client",
                       .client_host = "/127.0.0.1",
                       .rebalance_timeout_ms = 60000,
                       .session_timeout_ms = 10000,
                       .subscription = "\1\2\3",
                       .assignment = "\4\5"},
                      {.member_id = "one-2",
                       .instance_id = "one",
                       .client_id = "client",
                       .client_host = "/127.0.0.1",
                       .rebalance_timeout_ms = 60000,
                       .session_timeout_ms = 10000}}};
}

TEST(GroupRecords, AreWrittenAsKafkaWritesThem) {
  auto golden = Golden();
  EXPECT_EQ(EncodeKey(OffsetKey{"gr\xc3\xbcppe", "orders", 7}), golden["OffsetKey 0"]);
  EXPECT_EQ(EncodeKey(GroupKey{"gr\xc3\xbcppe"}), golden["GroupKey 0"]);
  EXPECT_EQ(EncodeOffset(Offset()), golden["OffsetValue 3"]);
  CommittedOffset expiring = Offset();
  expiring.expire_time_ms = 1700000600123;
  EXPECT_EQ(EncodeOffset(expiring), golden["OffsetValue 1"]);
  EXPECT_EQ(EncodeGroup(Record()), golden["GroupValue 3"]);
  EXPECT_EQ(EncodeGroup({.generation = 4}), golden["EmptyGroupValue 3"]);
}

TEST(GroupRecords, AreReadInEveryVersion) {
  auto golden = Golden();
  const auto offset_key = DecodeKey(base::AsBytes(golden["OffsetKey 0"]));
  ASSERT_TRUE(offset_key.ok());
  EXPECT_EQ(*offset_key, RecordKey(OffsetKey{"gr\xc3\xbcppe", "orders", 7}));
  const auto group_key = DecodeKey(base::AsBytes(golden["GroupKey 0"]));
  ASSERT_TRUE(group_key.ok());
  EXPECT_EQ(*group_key, RecordKey(GroupKey{"gr\xc3\xbcppe"}));
  for (int version = 0; version <= 4; ++version) {
    SCOPED_TRACE(version);
    const std::string suffix = " " + std::to_string(version);
    const auto offset = DecodeOffset(base::AsBytes(golden["OffsetValue" + suffix]));
    ASSERT_TRUE(offset.ok()) << offset.status();
    EXPECT_EQ(offset->offset, Offset().offset);
    EXPECT_EQ(offset->metadata, "meta");
    EXPECT_EQ(offset->commit_time_ms, 1700000000123);
    EXPECT_EQ(offset->leader_epoch, version >= 3 ? 5 : -1);
    EXPECT_EQ(offset->expire_time_ms, version == 1 ? 1700000600123 : -1);
    const auto group = DecodeGroup(base::AsBytes(golden["GroupValue" + suffix]));
    ASSERT_TRUE(group.ok()) << group.status();
    GroupRecord expected = Record();
    if (version < 3) expected.members[1].instance_id.reset();
    if (version < 2) expected.state_time_ms = -1;
    if (version < 1) {
      for (MemberRecord& member : expected.members) member.rebalance_timeout_ms = -1;
    }
    EXPECT_EQ(*group, expected);
  }
}

TEST(GroupRecords, KindsThatAreNotKnownAreNamed) {
  const std::string key("\0\13\0\1g", 5);
  const auto decoded = DecodeKey(base::AsBytes(key));
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(*decoded, RecordKey(UnknownKey{11}));
}

TEST(GroupRecords, DamageIsNoticed) {
  for (const auto& [name, bytes] : Golden()) {
    if (name.substr(0, 9) == "Partition") continue;
    for (size_t end = 0; end < bytes.size(); ++end) {
      SCOPED_TRACE(name + " to " + std::to_string(end));
      const base::ByteView cut = base::AsBytes(bytes).first(end);
      const bool is_key = name.find("Key") != std::string::npos;
      if (is_key) {
        EXPECT_FALSE(DecodeKey(cut).ok());
      } else if (name[0] == 'O') {
        EXPECT_FALSE(DecodeOffset(cut).ok());
      } else {
        EXPECT_FALSE(DecodeGroup(cut).ok());
      }
    }
  }
  std::string many = Golden()["EmptyGroupValue 3"];
  many[many.size() - 4] = '\x7f';  // members, and none of them there
  EXPECT_FALSE(DecodeGroup(base::AsBytes(many)).ok());
  std::string newer = Golden()["GroupValue 3"];
  newer[1] = 5;
  EXPECT_FALSE(DecodeGroup(base::AsBytes(newer)).ok());
}

TEST(GroupRecords, AGroupsPartitionIsKafkas) {
  for (const auto& [name, group_id] : Golden()) {
    if (name.substr(0, 9) != "Partition") continue;
    EXPECT_EQ(std::to_string(PartitionOf(group_id, 50)), name.substr(10)) << group_id;
  }
  EXPECT_EQ(JavaHash("polygenelubricants"), INT32_MIN);
  EXPECT_EQ(JavaHash("\xff"), 0xfffd) << "as a decoder in Java replaces it";
}

TEST(GroupRecords, SubscriptionsAreLookedInto) {
  EXPECT_EQ(DecodeSubscription(Subscription({"a", "bc"}))->topics,
            (std::vector<std::string>{"a", "bc"}));
  EXPECT_TRUE(DecodeSubscription(Subscription({}))->topics.empty());
  EXPECT_FALSE(DecodeSubscription("\1\2\3").has_value());
  EXPECT_FALSE(DecodeSubscription(std::string("\0\0\x7f\xff\xff\xff", 6)).has_value());
}

TEST(GroupRecords, OwnedPartitionsAndTheRackAreInSubscriptions) {
  const std::string topics("\0\0\0\1\0\1t\xff\xff\xff\xff", 11);
  const std::string owned("\0\0\0\1\0\1t\0\0\0\2\0\0\0\0\0\0\0\3", 19);
  const std::string generation("\0\0\0\7", 4);
  const auto first = DecodeSubscription(std::string("\0\1", 2) + topics + owned);
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->version, 1);
  EXPECT_EQ(first->owned, (std::vector<NamedPartition>{{"t", 0}, {"t", 3}}));
  const auto last = DecodeSubscription(std::string("\0\3", 2) + topics + owned + generation +
                                       std::string("\0\1r", 3));
  ASSERT_TRUE(last.has_value());
  EXPECT_EQ(last->owned.size(), 2u);
  EXPECT_EQ(last->rack, "r");
  EXPECT_FALSE(DecodeSubscription(std::string("\0\1", 2) + topics + owned.substr(0, 15)));
}

TEST(GroupRecords, AssignmentsAreLookedInto) {
  const std::string assignment("\0\0\0\0\0\1\0\1t\0\0\0\2\0\0\0\0\0\0\0\3\xff\xff\xff\xff", 25);
  const std::vector<NamedPartition> partitions = {{"t", 0}, {"t", 3}};
  const auto decoded = DecodeAssignment(assignment);
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(decoded->partitions, partitions);
  EXPECT_FALSE(decoded->has_user_data);
  EXPECT_FALSE(DecodeAssignment(assignment.substr(0, 20)).has_value());
  EXPECT_FALSE(DecodeAssignment("").has_value());
  EXPECT_TRUE(
      DecodeAssignment(assignment.substr(0, 21) + std::string("\0\0\0\1x", 5))->has_user_data);
  EXPECT_EQ(EncodeAssignment(partitions, 0), assignment);
  EXPECT_EQ(EncodeAssignment(partitions, 9)[1], 3) << "the newest that is known";
}

}  // namespace
}  // namespace ringtail::group
