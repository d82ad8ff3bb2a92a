#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/tools/client/fake_broker.h"

namespace ringtail::cli {
namespace {

struct Ran {
  int code = -1;
  std::string out;
  std::string err;
};

std::string ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

class CliTest : public ::testing::Test {
 protected:
  // `arguments` as a shell takes them.
  Ran Run(const std::string& arguments, const std::string& input = "") {
    const std::string base = std::string(getenv("TEST_TMPDIR")) + "/run";
    std::ofstream(base + ".in", std::ios::binary) << input;
    const std::string command = "RINGTAIL_BOOTSTRAP=" + broker_.bootstrap() + " tools/ringtail " +
                                arguments + " <" + base + ".in >" + base + ".out 2>" + base +
                                ".err";
    Ran ran;
    ran.code = WEXITSTATUS(system(command.c_str()));
    ran.out = ReadAll(base + ".out");
    ran.err = ReadAll(base + ".err");
    return ran;
  }

  client::FakeBroker broker_{2};
};

TEST_F(CliTest, Topics) {
  EXPECT_EQ(Run("topic create b --partitions 3 --config retention.ms=1000").code, 0);
  const Ran again = Run("topic create b");
  EXPECT_EQ(again.code, 1);
  EXPECT_NE(again.err.find("`ringtail topic describe b`"), std::string::npos) << again.err;
  EXPECT_EQ(nlohmann::json::parse(Run("topic list --json").out)[0]["partitions"], 3);
  EXPECT_NE(Run("topic list").out.find("3 partitions"), std::string::npos);
  EXPECT_EQ(nlohmann::json::parse(Run("topic describe b --json").out)["partitions"].size(), 3u);
  EXPECT_NE(Run("topic describe b").out.find("retention.ms"), std::string::npos);
  EXPECT_EQ(Run("topic delete b").code, 0);
  const Ran gone = Run("topic describe b");
  EXPECT_EQ(gone.code, 1);
  EXPECT_NE(gone.err.find("ringtail topic create b"), std::string::npos) << gone.err;
}

TEST_F(CliTest, ProducesAndConsumesLines) {
  ASSERT_EQ(Run("topic create t --partitions 1").code, 0);
  std::string lines;
  for (int i = 0; i < 20'000; ++i) lines += "line " + std::to_string(i) + "\n";
  lines += "\nno line end";
  for (const std::string codec : {"none", "gzip", "snappy", "lz4", "zstd"}) {
    ASSERT_EQ(Run("topic delete t").code, 0);
    ASSERT_EQ(Run("topic create t --partitions 1").code, 0);
    const Ran sent = Run("produce t --batch-bytes 16k -z " + codec, lines);
    ASSERT_EQ(sent.code, 0) << sent.err;
    EXPECT_EQ(sent.err, "");
    EXPECT_TRUE(Run("consume t").out == lines + "\n");
  }
  EXPECT_EQ(Run("consume t --from offset:7 --count 2").out, "line 7\nline 8\n");
  EXPECT_EQ(Run("consume t --from end").out, "");
  EXPECT_EQ(Run("consume t --follow --count 1").out, "line 0\n");
}

TEST_F(CliTest, ConsumingSaysWhereTheLogIsAndWhatIsMissing) {
  ASSERT_EQ(Run("topic create t --partitions 1").code, 0);
  ASSERT_EQ(Run("produce t", "a\nb\nc\n").code, 0);
  for (const std::string more : {"", " --count 1", " --follow", " --partition 0"}) {
    const Ran beyond = Run("consume t --from offset:99" + more);
    EXPECT_EQ(beyond.code, 1) << more;
    EXPECT_EQ(beyond.out, "");
    EXPECT_NE(
        beyond.err.find("partition 0: offset 99 is outside the log, which begins at 0 and ends "
                        "at 3 (OFFSET_OUT_OF_RANGE)"),
        std::string::npos)
        << beyond.err;
  }
  const Ran at_end = Run("consume t --from offset:3");
  EXPECT_EQ(at_end.code, 0) << at_end.err;
  EXPECT_EQ(at_end.err, "");
  const Ran fewer = Run("consume t --from offset:1 --count 10");
  EXPECT_EQ(fewer.code, 0);
  EXPECT_EQ(fewer.out, "b\nc\n");
  EXPECT_NE(fewer.err.find("after 2 of 10 records"), std::string::npos) << fewer.err;
}

TEST_F(CliTest, ProducesAtEveryLevelOfAcks) {
  ASSERT_EQ(Run("topic create t --partitions 2").code, 0);
  for (const std::string acks : {"all", "leader", "none", "1", "0"}) {
    const Ran ran = Run("produce t --partition 1 --acks " + acks, "x\n");
    EXPECT_EQ(ran.code, 0) << ran.err;
  }
  EXPECT_EQ(Run("consume t --follow --count 5").out, "x\nx\nx\nx\nx\n");
  EXPECT_NE(Run("produce t --acks 2", "x\n").err.find("use all, leader or none"),
            std::string::npos);
}

TEST_F(CliTest, KeysAndHeaders) {
  ASSERT_EQ(Run("topic create t --partitions 4").code, 0);
  ASSERT_EQ(Run("produce t -k : -H a=b -H c=", "alice:1\nbob:2\nalice:3\n").code, 0);
  std::map<std::string, std::set<int>> partitions;
  std::istringstream lines(Run("consume t --format json").out);
  for (std::string line; std::getline(lines, line);) {
    const nlohmann::json record = nlohmann::json::parse(line);
    partitions[record["key"]].insert(record["partition"].get<int>());
    EXPECT_EQ(record["headers"][0]["name"], "a");
    EXPECT_EQ(record["headers"][1]["value"], "");
  }
  EXPECT_EQ(partitions["alice"].size(), 1u);
  EXPECT_EQ(partitions["bob"].size(), 1u);
  EXPECT_NE(Run("consume t --format key-value -k =").out.find("alice=1\n"), std::string::npos);
  const Ran bad = Run("produce t -k :", "a:b\nno key\n");
  EXPECT_EQ(bad.code, 1);
  EXPECT_NE(bad.err.find("line 2 has no key separator"), std::string::npos) << bad.err;
}

TEST_F(CliTest, Benchmarks) {
  ASSERT_EQ(Run("topic create t --partitions 2").code, 0);
  const Ran produce = Run("bench produce t --records 5000 --record-bytes 1k --json");
  ASSERT_EQ(produce.code, 0) << produce.err;
  nlohmann::json result = nlohmann::json::parse(produce.out);
  EXPECT_EQ(result["records"], 5000);
  EXPECT_EQ(result["latency_us"]["count"], 5000);
  const Ran latency = Run("bench latency t --rate 2000 --records 200 --json");
  ASSERT_EQ(latency.code, 0) << latency.err;
  result = nlohmann::json::parse(latency.out);
  EXPECT_EQ(result["records"], 200);
  EXPECT_GT(result["latency_us"]["p99.99"], 0);
  for (const std::string decode : {"", " --decode"}) {
    const Ran consume = Run("bench consume t --json" + decode);
    ASSERT_EQ(consume.code, 0) << consume.err;
    EXPECT_EQ(nlohmann::json::parse(consume.out)["records"], 5200);
  }
  EXPECT_NE(Run("bench latency t --records 10").out.find("p99.99"), std::string::npos);
}

TEST_F(CliTest, ErrorsSayWhatToDoNext) {
  const Ran unknown = Run("consume none");
  EXPECT_EQ(unknown.code, 1);
  EXPECT_NE(unknown.err.find("ringtail topic create none"), std::string::npos) << unknown.err;
  const Ran nobody = Run("--bootstrap 127.0.0.1:1 topic list");
  EXPECT_EQ(nobody.code, 1);
  EXPECT_NE(nobody.err.find("Is ringtaild running"), std::string::npos) << nobody.err;
  EXPECT_NE(Run("consume t --from yesterday").err.find("time:MS"), std::string::npos);
  EXPECT_NE(Run("frobnicate").code, 0);
}

TEST_F(CliTest, HelpTeachesByExample) {
  for (const std::string command :
       {"", "topic create ", "produce ", "consume ", "bench latency ", "log dump "}) {
    const Ran help = Run(command + "--help");
    EXPECT_EQ(help.code, 0);
    EXPECT_NE(help.out.find("Example"), std::string::npos) << command;
  }
}

TEST_F(CliTest, DumpsALogFile) {
  ASSERT_EQ(Run("topic create t --partitions 1").code, 0);
  ASSERT_EQ(Run("produce t", "hello\n").code, 0);
  const std::string path = std::string(getenv("TEST_TMPDIR")) + "/00000000000000000000.log";
  std::ofstream(path, std::ios::binary) << broker_.Log("t", 0);
  const Ran dump = Run("log dump --records " + path);
  EXPECT_EQ(dump.code, 0) << dump.err;
  EXPECT_NE(dump.out.find("value 'hello'"), std::string::npos) << dump.out;
  std::ofstream(path, std::ios::binary | std::ios::app) << "torn";
  EXPECT_EQ(Run("log dump " + path).code, 1);
}

}  // namespace
}  // namespace ringtail::cli
