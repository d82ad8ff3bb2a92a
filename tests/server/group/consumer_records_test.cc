#include "server/group/consumer_records.h"

#include <fstream>
#include <map>
#include <sstream>

#include "absl/strings/escaping.h"
#include "gtest/gtest.h"
#include "server/group/group_records.h"

namespace ringtail::group {
namespace {

constexpr char kGoldenFile[] = "tests/server/group/golden/consumer_records.txt";

// "NAME KIND" -> bytes.
std::map<std::string, std::string> Golden() {
  std::map<std::string, std::string> golden;
  std::ifstream file(kGoldenFile);
  EXPECT_TRUE(file.good());
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string name, kind, hex;
    words >> name >> kind >> hex;
    golden[name + " " + kind] = absl::HexStringToBytes(hex);
  }
  return golden;
}

base::Uuid Topic(uint8_t first) {
  base::Uuid id;
  for (size_t i = 0; i < id.bytes.size(); ++i) id.bytes[i] = static_cast<uint8_t>(first + i);
  return id;
}
const base::Uuid kA = Topic(0x01);
const base::Uuid kB = Topic(0x11);

ConsumerMemberValue Member() {
  return {.instance_id = "one",
          .rack_id = "rack",
          .client_id = "client",
          .client_host = "/127.0.0.1",
          .topics = {"a", "b"},
          .regex = "a.*",
          .rebalance_timeout_ms = 300000,
          .assignor = "range"};
}
ConsumerMemberValue PlainMember() {
  return {.client_id = "client", .client_host = "/127.0.0.1", .rebalance_timeout_ms = 300000};
}
ConsumerMemberValue ClassicMember() {
  ConsumerMemberValue member = PlainMember();
  member.topics = {"a"};
  member.classic = {.session_timeout_ms = 10000, .protocols = {{"range", "\1\2\3"}}};
  return member;
}
const PartitionSet kTarget = {{kA, 0}, {kA, 2}, {kB, 1}};
const CurrentAssignmentValue kCurrent = {.epoch = 10,
                                         .previous_epoch = 9,
                                         .state = MemberState::kUnrevokedPartitions,
                                         .assigned = {{kA, 0}, {kA, 2}},
                                         .revoking = {{kB, 1}}};
const RegexValue kRegex = {.topics = {"a", "ab"}, .version = 12, .time_ms = 1700000000123};
constexpr int64_t kHash = 0x0123456789abcdef;

TEST(ConsumerRecords, AreWrittenAsKafkaWritesThem) {
  auto golden = Golden();
  for (const int kind : {3, 4, 5, 6, 7, 8, 16}) {
    ASSERT_TRUE(IsConsumerRecord(static_cast<int16_t>(kind)));
    const auto consumer = static_cast<ConsumerRecord>(kind);
    const ConsumerKey key{consumer, "gr\xc3\xbcppe", HasName(consumer) ? "m" : ""};
    EXPECT_EQ(EncodeKey(key), golden["Key " + std::to_string(kind)]) << kind;
  }
  EXPECT_EQ(EncodeConsumerGroup({.epoch = 7, .metadata_hash = kHash}), golden["Value 3"]);
  EXPECT_EQ(EncodeConsumerGroup({.epoch = 7}), golden["NoHashValue 3"]);
  EXPECT_EQ(EncodeConsumerMember(Member()), golden["Value 5"]);
  EXPECT_EQ(EncodeConsumerMember(PlainMember()), golden["PlainValue 5"]);
  EXPECT_EQ(EncodeConsumerMember(ClassicMember()), golden["ClassicValue 5"]);
  EXPECT_EQ(EncodeTargetEpoch(9), golden["Value 6"]);
  EXPECT_EQ(EncodeTargetMember(kTarget), golden["Value 7"]);
  EXPECT_EQ(EncodeCurrentAssignment(kCurrent), golden["Value 8"]);
  EXPECT_EQ(EncodeRegex(kRegex), golden["Value 16"]);
}

TEST(ConsumerRecords, AreRead) {
  auto golden = Golden();
  const auto bytes = [&](const char* name) { return base::AsBytes(golden[name]); };
  for (const int kind : {3, 4, 5, 6, 7, 8, 16}) {
    const auto consumer = static_cast<ConsumerRecord>(kind);
    const auto key = DecodeKey(bytes(("Key " + std::to_string(kind)).c_str()));
    ASSERT_TRUE(key.ok()) << key.status();
    EXPECT_EQ(*key,
              RecordKey(ConsumerKey{consumer, "gr\xc3\xbcppe", HasName(consumer) ? "m" : ""}));
  }
  EXPECT_EQ(DecodeConsumerGroup(bytes("Value 3")).value(), (ConsumerGroupValue{7, kHash}));
  EXPECT_EQ(DecodeConsumerGroup(bytes("NoHashValue 3")).value(), (ConsumerGroupValue{7, 0}));
  EXPECT_EQ(DecodeConsumerMember(bytes("Value 5")).value(), Member());
  EXPECT_EQ(DecodeConsumerMember(bytes("PlainValue 5")).value(), PlainMember());
  EXPECT_EQ(DecodeConsumerMember(bytes("ClassicValue 5")).value(), ClassicMember());
  EXPECT_EQ(DecodeTargetEpoch(bytes("Value 6")).value(), 9);
  EXPECT_EQ(DecodeTargetMember(bytes("Value 7")).value(), kTarget);
  EXPECT_EQ(DecodeCurrentAssignment(bytes("Value 8")).value(), kCurrent);
  EXPECT_EQ(DecodeRegex(bytes("Value 16")).value(), kRegex);
}

TEST(ConsumerRecords, DamageIsNoticed) {
  for (const auto& [name, bytes] : Golden()) {
    for (size_t end = 0; end < bytes.size(); ++end) {
      SCOPED_TRACE(name + " to " + std::to_string(end));
      const base::ByteView cut = base::AsBytes(bytes).first(end);
      if (name.substr(0, 3) == "Key") {
        EXPECT_FALSE(DecodeKey(cut).ok());
        continue;
      }
      const auto kind = static_cast<ConsumerRecord>(std::stoi(name.substr(name.find(' '))));
      ConsumerGroupImage image;
      EXPECT_FALSE(image.Apply({kind, "g", "m"}, cut).ok());
    }
  }
  // Partitions, and none of them there.
  EXPECT_FALSE(DecodeTargetMember(base::AsBytes(std::string("\0\0\xff\xff\xff\xff\x0f", 7))).ok());
  EXPECT_FALSE(DecodeTargetEpoch(base::AsBytes(std::string("\0\1\0\0\0\1\0", 7))).ok())
      << "a version that is not known";
}

TEST(ConsumerRecords, TombstonesUndoWhatWasSaid) {
  auto golden = Golden();
  ConsumerGroupImage image;
  for (const int kind : {3, 5, 6, 7, 8, 16}) {
    const ConsumerKey key{static_cast<ConsumerRecord>(kind), "g", "m"};
    ASSERT_TRUE(image.Apply(key, base::AsBytes(golden["Value " + std::to_string(kind)])).ok());
  }
  EXPECT_EQ(image.group->epoch, 7);
  EXPECT_EQ(image.target_epoch, 9);
  EXPECT_EQ(image.members["m"], Member());
  EXPECT_EQ(image.targets["m"], kTarget);
  EXPECT_EQ(image.current["m"], kCurrent);
  EXPECT_EQ(image.regexes["m"], kRegex);
  for (const int kind : {3, 4, 5, 6, 7, 8, 16}) {
    ASSERT_TRUE(image.Apply({static_cast<ConsumerRecord>(kind), "g", "m"}, std::nullopt).ok());
  }
  EXPECT_FALSE(image.group.has_value());
  EXPECT_EQ(image.target_epoch, 0);
  EXPECT_TRUE(image.members.empty() && image.targets.empty() && image.current.empty() &&
              image.regexes.empty());
}

}  // namespace
}  // namespace ringtail::group
