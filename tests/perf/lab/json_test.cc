#include "perf/lab/json.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <stdexcept>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "perf/lab/comparison.h"
#include "perf/lab/html_report.h"
#include "perf/lab/text_report.h"
#include "tests/perf/lab/sample.h"

namespace ringtail::lab {
namespace {

using Json = nlohmann::json;

// What FromJson says of `text`; "" where it takes it.
std::string ErrorOf(const std::string& text) {
  try {
    FromJson(text);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
}

// Of the sample with one value in it replaced; `value` is JSON.
std::string ErrorWith(const std::string& pointer, const std::string& value) {
  Json json = Json::parse(ToJson(Sample()));
  json[Json::json_pointer(pointer)] = Json::parse(value);
  return ErrorOf(json.dump());
}

// One group of two rounds, for tests that damage each part of it.
LabResult Small() {
  LabResult result = Sample();
  result.groups = {result.groups[3]};
  result.groups[0].parameters = {{"depth", 8, "depth 8"}};
  for (PathResult& path : result.groups[0].paths) {
    for (auto& [figure, rounds] : path.rounds) rounds.resize(2);
  }
  return result;
}

void ReportAll(const LabResult& result) {
  EXPECT_FALSE(TextReport(result, 100).empty());
  EXPECT_FALSE(HtmlReport(result).empty());
  EXPECT_FALSE(ComparisonText(result, Small(), 100).empty());
}

TEST(JsonTest, RoundTrip) {
  const std::string text = ToJson(Sample());
  const LabResult result = FromJson(text);
  EXPECT_EQ(ToJson(result), text);
  EXPECT_EQ(TextReport(result, 100), TextReport(Sample(), 100));
  EXPECT_EQ(result.groups[0].paths[0].rounds, Sample().groups[0].paths[0].rounds);
  EXPECT_EQ(result.groups[2].parameters, Sample().groups[2].parameters);
}

TEST(JsonTest, AnEmptyResult) {
  const std::string text = ToJson(LabResult());
  EXPECT_EQ(ToJson(FromJson(text)), text);
}

TEST(JsonTest, FiguresWithoutRoundsAreLeftOut) {
  LabResult result = Sample();
  result.groups[0].paths[0].rounds["p50_us"] = {};
  EXPECT_FALSE(FromJson(ToJson(result)).groups[0].paths[0].rounds.contains("p50_us"));
}

TEST(JsonTest, BytesThatAreNoUtf8AreReplaced) {
  LabResult result = Sample();
  result.machine["cpu"] = "\xff\xc0";
  EXPECT_EQ(FromJson(ToJson(result)).machine["cpu"], "\xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST(JsonTest, WritesNoFigureThatIsNone) {
  for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity(), -1.0, 1e300}) {
    LabResult result = Sample();
    result.groups[0].paths[0].rounds["p50_us"][2] = bad;
    EXPECT_THROW(ToJson(result), std::runtime_error) << bad;
  }
}

TEST(JsonTest, FieldsOfLaterVersionsAreSkipped) {
  EXPECT_EQ(ErrorWith("/weather", "[1]"), "");
  EXPECT_EQ(ErrorWith("/groups/0/paths/0/color", "\"red\""), "");
}

TEST(JsonTest, ErrorsSayWhereWhatWasExpectedAndWhatCame) {
  EXPECT_EQ(ErrorWith("/format", "2"),
            "format: expected format 1, the only one this program reads, came 2");
  EXPECT_EQ(ErrorWith("/version", "7"), "version: expected a string, came 7");
  EXPECT_EQ(ErrorWith("/quick", "\"yes\""), "quick: expected true or false, came \"yes\"");
  EXPECT_EQ(ErrorWith("/started_ms", "-1"),
            "started_ms: expected a whole number from 0 to 253402300799999, came -1");
  EXPECT_EQ(ErrorWith("/notes", "{}"), "notes: expected a list, came an object");
  EXPECT_EQ(ErrorWith("/machine/cpu", "null"), "machine.cpu: expected a string, came null");
  EXPECT_EQ(ErrorWith("/groups/1/family", "\"\""), "groups[1].family: expected a name, came \"\"");
  EXPECT_EQ(ErrorWith("/groups/0/parameters/0/value", "1.5"),
            "groups[0].parameters[0].value: expected a whole number from -9223372036854775808 to "
            "9223372036854775807, came 1.5");
  EXPECT_EQ(ErrorWith("/groups/0/paths/0/promise", "\"forever\""),
            "groups[0].paths[0].promise: expected none, page_cache, device or durable, came "
            "\"forever\"");
  EXPECT_EQ(ErrorWith("/groups/0/paths/2/rounds/p50_us/3", "null"),
            "groups[0].paths[2].rounds.p50_us[3]: expected a number from 0 to 1e15, came null");
  EXPECT_EQ(ErrorWith("/groups/0/paths/2/rounds/p50_us", "[1, 2]"),
            "groups[0].paths[2].rounds.p50_us: expected 5 rounds as in the other figures, came 2");
  EXPECT_EQ(ErrorWith("/groups/0/paths/2/rounds/cpu_s_per_gb", "[]"),
            "groups[0].paths[2].rounds.cpu_s_per_gb: expected at least one round, came none");
  EXPECT_EQ(ErrorWith("/groups/0/paths/0/unavailable", "\"no\""),
            "groups[0].paths[0].unavailable: expected nothing beside rounds, came \"no\"");
  EXPECT_EQ(ErrorWith("/groups/0/paths/0/path", "\"pwrite\""),
            "groups[0].paths[1].path: expected a path that its group does not have yet, came "
            "\"pwrite\"");
  EXPECT_EQ(ErrorOf("[]"), "the file: expected an object, came a list");
  EXPECT_EQ(ErrorOf("{}"), "format: expected a value, came nothing");
}

TEST(JsonTest, NumbersThatAreTooLarge) {
  for (const char* pointer : {"/started_ms", "/seconds", "/groups/0/parameters/0/value",
                              "/groups/0/paths/0/rounds/gb_per_s/0"}) {
    for (const char* value : {"18446744073709551615", "1e300", "-1e300", "99999999999999999999999",
                              "-99999999999999999999999"}) {
      EXPECT_NE(ErrorWith(pointer, value), "") << pointer << " " << value;
    }
  }
  EXPECT_TRUE(absl::StrContains(ErrorOf("{\"format\": 1e999}"), "cannot be read"));
}

TEST(JsonTest, ListsAndStringsThatAreTooLong) {
  Json many = Json::array();
  for (int i = 0; i < 10'001; ++i) many.push_back(1);
  EXPECT_EQ(ErrorWith("/groups/0/paths/0/rounds/p50_us", many.dump()),
            "groups[0].paths[0].rounds.p50_us: expected at most 10000 entries, came 10001");
  EXPECT_EQ(ErrorWith("/version", Json(std::string(5000, 'x')).dump()),
            "version: expected at most 4096 bytes, came 5000");
  EXPECT_NE(ErrorOf(std::string(100'000, '[')), "");
  EXPECT_NE(ErrorOf(absl::StrCat(std::string(100'000, '['), std::string(100'000, ']'))), "");
}

TEST(JsonTest, TruncatedAnywhere) {
  const std::string text = ToJson(Small());
  const size_t whole = text.rfind('}') + 1;
  for (size_t bytes = 0; bytes < whole; ++bytes) {
    ASSERT_TRUE(absl::StrContains(ErrorOf(text.substr(0, bytes)), "cannot be read")) << bytes;
  }
}

// Pointers to every value, and to all that it is in.
std::set<std::string> Pointers(const Json& json) {
  std::set<std::string> pointers;
  const Json flat = json.flatten();
  for (const auto& [pointer, value] : flat.items()) {
    for (size_t end = pointer.size(); end != 0; end = pointer.rfind('/', end - 1)) {
      pointers.insert(pointer.substr(0, end));
    }
  }
  return pointers;
}

TEST(JsonTest, AnyValueReplacedIsRefusedOrCanBeReported) {
  const Json json = Json::parse(ToJson(Small()));
  int refused = 0;
  for (const std::string& pointer : Pointers(json)) {
    for (const char* value : {"null", "true", "0", "-1", "1e15", "\"\"", "\"\\u0000<\"", "[]", "{}",
                              "[null]", "{\"\": 1}"}) {
      Json damaged = json;
      damaged[Json::json_pointer(pointer)] = Json::parse(value);
      try {
        ReportAll(FromJson(damaged.dump()));
      } catch (const std::runtime_error&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 200);
}

TEST(JsonTest, AnyFieldMissingIsRefused) {
  const Json json = Json::parse(ToJson(Small()));
  for (const auto& [name, value] : json.items()) {
    Json without = json;
    without.erase(name);
    EXPECT_EQ(ErrorOf(without.dump()), absl::StrCat(name, ": expected a value, came nothing"));
  }
  for (const char* at : {"/groups/0", "/groups/0/parameters/0", "/groups/0/paths/0"}) {
    const Json object = json[Json::json_pointer(at)];
    for (const auto& [name, value] : object.items()) {
      Json without = json;
      without[Json::json_pointer(at)].erase(name);
      EXPECT_TRUE(absl::EndsWith(ErrorOf(without.dump()),
                                 absl::StrCat(".", name, ": expected a value, came nothing")))
          << at << name;
    }
  }
}

TEST(JsonTest, RandomBytesInIt) {
  const std::string text = ToJson(Small());
  std::mt19937 random(17);
  for (int i = 0; i < 2000; ++i) {
    std::string damaged = text;
    for (int changes = 0; changes < 3; ++changes) {
      damaged[random() % damaged.size()] = "0123456789-.eE\"[]{},:tfnu\\\x01\xff"[random() % 28];
    }
    try {
      ReportAll(FromJson(damaged));
    } catch (const std::runtime_error&) {
      // Refused.
    }
  }
}

}  // namespace
}  // namespace ringtail::lab
