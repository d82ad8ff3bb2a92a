// Every message in every version against the bytes of Kafka's own classes (golden/README.md).
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "gtest/gtest.h"
#include "server/kafka/frame.h"
#include "server/kafka/messages_reflect.h"
#include "tests/server/kafka/message_fill.h"

namespace ringtail::kafka {
namespace {

constexpr char kGoldenFile[] = "tests/server/kafka/golden/kafka_messages.txt";

template <class Message>
std::string EncodeToText(const Message& message, int16_t version) {
  const absl::StatusOr<EncodedSize> size = Measure(message, version);
  EXPECT_TRUE(size.ok()) << size.status().ToString();
  if (!size.ok()) return "";
  std::string out(size->buffer_bytes, '\0');
  Encode(message, version, *size, reinterpret_cast<uint8_t*>(out.data()));
  return out;
}

template <class Message>
void CheckLine(int16_t version, const std::string& variant, const std::string& golden) {
  Pool pool;
  Message expected;
  if (variant != "default") expected = GoldenFill<Message>(variant == "nulls", version, pool);
  EXPECT_EQ(absl::BytesToHexString(EncodeToText(expected, version)),
            absl::BytesToHexString(golden));

  Arena arena;
  Message decoded;
  const absl::Status status = Decode(base::AsBytes(golden), version, arena, &decoded);
  ASSERT_TRUE(status.ok()) << status.ToString();
  EXPECT_TRUE(decoded == expected);
}

TEST(MessagesGolden, AgreeWithKafkaInEveryMessageAndVersion) {
  using Check = std::function<void(int16_t, const std::string&, const std::string&)>;
  std::map<std::string, Check> checks;
  std::set<std::string> missing;
  ForEachMessage([&]<class Message>(std::type_identity<Message>) {
    checks[std::string(Message::kName)] = CheckLine<Message>;
    for (int v = Message::kVersionMin; v <= Message::kVersionMax; ++v) {
      missing.insert(std::string(Message::kName) + " " + std::to_string(v));
    }
  });

  std::ifstream file(kGoldenFile);
  ASSERT_TRUE(file.good());
  for (std::string line; std::getline(file, line);) {
    SCOPED_TRACE(line.substr(0, 100));
    std::istringstream words(line);
    std::string name, variant, hex;
    int version = -1;
    words >> name >> version >> variant >> hex;
    ASSERT_EQ(checks.count(name), 1u);
    checks[name](static_cast<int16_t>(version), variant, absl::HexStringToBytes(hex));
    if (variant == "full") missing.erase(name + " " + std::to_string(version));
  }
  EXPECT_TRUE(missing.empty()) << missing.size() << " not covered, first " << *missing.begin();
}

}  // namespace
}  // namespace ringtail::kafka
