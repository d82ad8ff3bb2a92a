// DescribeConfigs, AlterConfigs, IncrementalAlterConfigs and CreatePartitions on a connection.
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/config.h"
#include "server/kafka/configs.h"
#include "server/kafka/errors.h"
#include "server/kafka/session.h"
#include "server/live_config.h"
#include "tests/server/broker_calls.h"
#include "tests/server/kafka/kafka_dialogue.h"
#include "tests/server/sim_server.h"

namespace ringtail::kafka {
namespace {

using log::MakeBatch;
using Text = std::optional<absl::string_view>;

constexpr int8_t kTopic = 2;
constexpr int8_t kBroker = 4;
constexpr int8_t kSet = 0;
constexpr int8_t kDelete = 1;
constexpr int8_t kAppend = 2;
constexpr int8_t kSubtract = 3;

struct Change {
  absl::string_view name;
  int8_t operation = kSet;
  Text value;
};

struct Resource {
  int8_t type = kTopic;
  std::string name;
  std::vector<Change> changes;
};

class ConfigsSessionTest : public testing::Test {
 protected:
  void SetUp() override {
    StartServer();
    ASSERT_EQ(server_->CreateTopic("t", 2, {{"retention.ms", "1000"}}).failure.error,
              base::Error::kNone);
  }
  void StartServer() {
    const absl::string_view flags[] = {"--data_dir=/data", "--durability=page_cache",
                                       "--connection_idle_s=5", "--listen=::1"};
    const auto loaded = server::LoadConfig(flags, {.home = "/home", .cpus = {0}});
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    peer_.reset();
    server_.reset();
    server_ = std::make_unique<server::SimServer>(
        world_, server::SimServerOptions{.cores = 2,
                                         .live = std::make_shared<server::LiveConfig>(*loaded)});
    ASSERT_TRUE(server_->Start().ok());
    peer_ = std::make_unique<KafkaDialogue>(world_);
    ASSERT_TRUE(peer_->Open(server_->endpoints().cores[0].kafka));
  }
  template <class Response, class Request>
  std::unique_ptr<Decoded<Response>> Ask(const Request& request, int16_t version) {
    auto reply = peer_->Ask<Response>(request, version, ++correlation_id_);
    EXPECT_NE(reply, nullptr) << Request::kName << " version " << version;
    return reply == nullptr ? std::make_unique<Decoded<Response>>() : std::move(reply);
  }

  using Described = DescribeConfigsResponse::DescribeConfigsResourceResult;
  // Of one resource; `keys` empty: all.
  std::unique_ptr<Decoded<DescribeConfigsResponse>> Describe(
      int8_t type, const std::string& name, const std::vector<std::string>& keys = {},
      int16_t version = 4) {
    DescribeConfigsRequest request;
    request.include_synonyms = true;
    request.include_documentation = version >= 3;
    auto& resource = request.resources.Add(arena_);
    resource.resource_type = type;
    resource.resource_name = arena_.CopyText(name);
    resource.configuration_keys = std::nullopt;
    if (!keys.empty()) resource.configuration_keys.emplace();
    for (const std::string& key : keys) {
      resource.configuration_keys->Add(arena_) = arena_.CopyText(key);
    }
    auto reply = Ask<DescribeConfigsResponse>(request, version);
    EXPECT_EQ(reply->body.results.size(), 1u);
    return reply;
  }
  std::string ValueOf(const std::string& topic, const std::string& name) {
    const auto reply = Describe(kTopic, topic, {name});
    const auto& result = reply->body.results[0];
    if (result.error_code != 0 || result.configs.size() != 1) return "?";
    return std::string(result.configs[0].value.value_or("null"));
  }

  // The error of each resource, in order; messages are there where errors are.
  template <class Request, class Response>
  std::vector<ErrorCode> AlterAll(const std::vector<Resource>& resources, bool validate_only,
                                  int16_t version) {
    Request request;
    request.validate_only = validate_only;
    for (const Resource& each : resources) {
      auto& resource = request.resources.Add(arena_);
      resource.resource_type = each.type;
      resource.resource_name = arena_.CopyText(each.name);
      for (const Change& change : each.changes) {
        auto& config = resource.configs.Add(arena_);
        config.name = change.name;
        config.value = change.value;
        if constexpr (requires { config.config_operation; }) {
          config.config_operation = change.operation;
        }
      }
    }
    const auto reply = Ask<Response>(request, version);
    std::vector<ErrorCode> codes;
    EXPECT_EQ(reply->body.responses.size(), resources.size());
    for (size_t i = 0; i < reply->body.responses.size(); ++i) {
      const auto& out = reply->body.responses[i];
      EXPECT_EQ(out.resource_name, resources[i].name);
      EXPECT_EQ(out.resource_type, resources[i].type);
      EXPECT_EQ(out.error_message.has_value(), out.error_code != 0);
      last_message_ = std::string(out.error_message.value_or(""));
      codes.push_back(static_cast<ErrorCode>(out.error_code));
    }
    return codes;
  }
  std::vector<ErrorCode> Incremental(const std::vector<Resource>& resources,
                                     bool validate_only = false, int16_t version = 1) {
    return AlterAll<IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse>(
        resources, validate_only, version);
  }
  std::vector<ErrorCode> Legacy(const std::vector<Resource>& resources, bool validate_only = false,
                                int16_t version = 2) {
    return AlterAll<AlterConfigsRequest, AlterConfigsResponse>(resources, validate_only, version);
  }
  ErrorCode Grow(const std::string& topic, int32_t count, bool validate_only = false,
                 int16_t version = 3) {
    CreatePartitionsRequest request;
    request.timeout_ms = 1000;
    request.validate_only = validate_only;
    auto& wanted = request.topics.Add(arena_);
    wanted.name = arena_.CopyText(topic);
    wanted.count = count;
    wanted.assignments = std::nullopt;
    const auto reply = Ask<CreatePartitionsResponse>(request, version);
    EXPECT_EQ(reply->body.results.size(), 1u);
    const auto& result = reply->body.results[0];
    EXPECT_EQ(result.error_message.has_value(), result.error_code != 0);
    return static_cast<ErrorCode>(result.error_code);
  }

  sim::SimWorld world_{6};
  Arena arena_;
  std::unique_ptr<server::SimServer> server_;
  std::unique_ptr<KafkaDialogue> peer_;
  std::string last_message_;
  int32_t correlation_id_ = 100;
};

TEST_F(ConfigsSessionTest, ATopicsConfigsSayWhereTheyComeFromInEveryVersion) {
  for (int16_t version = 1; version <= 4; ++version) {
    const auto reply = Describe(kTopic, "t", {}, version);
    const auto& result = reply->body.results[0];
    EXPECT_EQ(result.error_code, 0);
    EXPECT_FALSE(result.error_message.has_value());
    EXPECT_EQ(result.resource_name, "t");
    ASSERT_EQ(result.configs.size(), server::TopicConfigDefinitions().size());
    std::map<absl::string_view, const Described*> by_name;
    for (const Described& config : result.configs) {
      by_name[config.name] = &config;
      EXPECT_FALSE(config.read_only);
      EXPECT_FALSE(config.is_sensitive);
      EXPECT_EQ(config.config_type != 0, version >= 3);
      EXPECT_EQ(config.documentation.value_or("").empty(), version < 3) << config.name;
      ASSERT_FALSE(config.synonyms.empty()) << config.name;
      EXPECT_EQ(config.synonyms[0].value, config.value);
      EXPECT_EQ(config.synonyms[0].source, config.config_source);
    }
    const Described& set = *by_name["retention.ms"];
    EXPECT_EQ(set.value, "1000");
    EXPECT_EQ(set.config_source, Wire(ConfigSource::kTopic));
    ASSERT_EQ(set.synonyms.size(), 2u);
    EXPECT_EQ(set.synonyms[1].name, "log.retention.ms");
    EXPECT_EQ(set.synonyms[1].value, "604800000");
    EXPECT_EQ(set.synonyms[1].source, Wire(ConfigSource::kDefault));
    EXPECT_EQ(by_name["segment.bytes"]->config_source, Wire(ConfigSource::kDefault));
    // What holds is what the broker's flag says.
    const Described& durability = *by_name["ringtail.durability"];
    EXPECT_EQ(durability.value, "page_cache");
    EXPECT_EQ(durability.config_source, Wire(ConfigSource::kStaticBroker));
    ASSERT_EQ(durability.synonyms.size(), 2u);
    EXPECT_EQ(durability.synonyms[1].value, "journal");
  }
}

TEST_F(ConfigsSessionTest, KeysFilterAndUnknownOnesAreAbsent) {
  const auto some = Describe(kTopic, "t", {"no.such", "segment.bytes", "retention.ms"});
  ASSERT_EQ(some->body.results[0].configs.size(), 2u);
  EXPECT_EQ(Describe(kTopic, "t", {"no.such"})->body.results[0].configs.size(), 0u);
  EXPECT_EQ(Describe(kBroker, "0", {"log.dirs", "segment.bytes"})->body.results[0].configs.size(),
            1u);
  // Without being asked for, neither synonyms nor texts.
  DescribeConfigsRequest plain;
  plain.resources.Add(arena_).resource_type = kTopic;
  plain.resources[0].resource_name = "t";
  const auto reply = Ask<DescribeConfigsResponse>(plain, 4);
  ASSERT_EQ(reply->body.results[0].configs.size(), server::TopicConfigDefinitions().size());
  for (const Described& config : reply->body.results[0].configs) {
    EXPECT_TRUE(config.synonyms.empty());
    EXPECT_FALSE(config.documentation.has_value());
  }
}

TEST_F(ConfigsSessionTest, ABrokersConfigsHaveKafkasNamesAndSayWhatMayChange) {
  for (const char* node : {"0", "1"}) {
    const auto reply = Describe(kBroker, node);
    const auto& result = reply->body.results[0];
    ASSERT_EQ(result.error_code, 0);
    std::map<std::string, const Described*> by_name;
    for (const Described& config : result.configs) {
      EXPECT_TRUE(by_name.emplace(config.name, &config).second) << config.name << " comes twice";
    }
    for (const char* fixed : {"broker.id", "log.dirs", "listeners", "connections.max.idle.ms",
                              "ringtail.durability", "log.retention.ms"}) {
      ASSERT_NE(by_name[fixed], nullptr) << fixed;
      EXPECT_TRUE(by_name[fixed]->read_only) << fixed;
    }
    for (const char* live : {"auto.create.topics.enable", "ringtail.busy_poll_us"}) {
      ASSERT_NE(by_name[live], nullptr) << live;
      EXPECT_FALSE(by_name[live]->read_only) << live;
    }
    const auto value = [&](const char* name) {
      const auto found = by_name.find(name);
      return found == by_name.end() ? "?" : std::string(found->second->value.value_or("null"));
    };
    EXPECT_EQ(value("broker.id"), node);
    EXPECT_EQ(value("log.dirs"), "/data");
    EXPECT_EQ(value("num.partitions"), "1");
    EXPECT_EQ(value("auto.create.topics.enable"), "false");
    EXPECT_EQ(value("message.max.bytes"), "1048588");
    EXPECT_EQ(value("log.retention.ms"), "604800000");
    EXPECT_EQ(value("log.segment.bytes"), "1073741824");
    EXPECT_EQ(value("listeners"), "PLAINTEXT://[::1]:9092");
    EXPECT_EQ(value("connections.max.idle.ms"), "5000");
    EXPECT_EQ(value("ringtail.durability"), "page_cache");
    EXPECT_EQ(value("ringtail.journal_file_bytes"), "67108864") << "no suffix";
    EXPECT_EQ(by_name["log.dirs"]->config_source, Wire(ConfigSource::kStaticBroker));
    EXPECT_EQ(by_name["num.partitions"]->config_source, Wire(ConfigSource::kDefault));
    EXPECT_TRUE(absl::StartsWith(value("advertised.listeners"), "PLAINTEXT://"));
  }
  const auto defaults = Describe(kBroker, "");
  EXPECT_EQ(defaults->body.results[0].error_code, 0);
  EXPECT_TRUE(defaults->body.results[0].configs.empty()) << "nothing is set for all brokers";
}

TEST_F(ConfigsSessionTest, ABrokersSettingsChangeWhileItRuns) {
  const auto described = [&](const char* node) {
    std::map<std::string, std::string> values;  // with their sources
    const auto reply = Describe(
        kBroker, node, {"ringtail.busy_poll_us", "num.partitions", "ringtail.connection_idle_s"});
    for (const Described& config : reply->body.results[0].configs) {
      std::string text(config.value.value_or("null"));
      for (size_t i = 0; i < config.synonyms.size(); ++i) {
        absl::StrAppend(&text, i == 0 ? " of " : ",", config.synonyms[i].source);
      }
      values[std::string(config.name)] = absl::StrCat(text, " is ", config.config_source);
    }
    return values;
  };
  using Values = std::map<std::string, std::string>;
  EXPECT_EQ(described("1"), (Values{{"num.partitions", "1 of 5 is 5"},
                                    {"ringtail.busy_poll_us", "20 of 5 is 5"},
                                    {"ringtail.connection_idle_s", "5 of 4,5 is 4"}}));
  EXPECT_EQ(Incremental({{kBroker,
                          "1",
                          {{"ringtail.busy_poll_us", kSet, "30"},
                           {"ringtail.connection_idle_s", kSet, "77"},
                           {"num.partitions", kSet, "3"}}}}),
            std::vector{ErrorCode::kNone})
      << last_message_;
  const Values set = {{"num.partitions", "3 of 2,5 is 2"},
                      {"ringtail.busy_poll_us", "30 of 2,5 is 2"},
                      {"ringtail.connection_idle_s", "77 of 2,4,5 is 2"}};
  for (const bool restarted : {false, true}) {
    if (restarted) StartServer();
    EXPECT_EQ(described("0"), set) << "of one node is of the whole broker";
    EXPECT_EQ(described("1"), set);
    for (uint32_t core = 0; core < 2; ++core) {
      EXPECT_EQ(server_->broker(core).topic_defaults().partitions, 3u) << "it holds on every core";
    }
    const auto defaults = Describe(kBroker, "");
    ASSERT_EQ(defaults->body.results[0].configs.size(), 3u) << "what is set, and no more";
    EXPECT_EQ(defaults->body.results[0].configs[0].config_source, Wire(ConfigSource::kAllBrokers));
  }
  EXPECT_EQ(Incremental({{kBroker, "", {{"num.partitions", kDelete, std::nullopt}}}}, true),
            std::vector{ErrorCode::kNone});
  EXPECT_EQ(described("0"), set) << "only validated";
  EXPECT_EQ(Incremental({{kBroker, "", {{"num.partitions", kDelete, std::nullopt}}}}),
            std::vector{ErrorCode::kNone});
  EXPECT_EQ(described("0")["num.partitions"], "1 of 5 is 5");
  EXPECT_EQ(Legacy({{kBroker, "0", {{"ringtail.busy_poll_us", kSet, "31"}}}}),
            std::vector{ErrorCode::kNone});
  EXPECT_EQ(described("0"), (Values{{"num.partitions", "1 of 5 is 5"},
                                    {"ringtail.busy_poll_us", "31 of 2,5 is 2"},
                                    {"ringtail.connection_idle_s", "5 of 4,5 is 4"}}))
      << "what is not named is no longer set";
}

TEST_F(ConfigsSessionTest, WhatAnotherVersionHasSetIsLeftOutAndCanBeDeleted) {
  server_->catalog().set_check_settings([](const server::Settings&) { return absl::OkStatus(); });
  const auto planted = server_->sim().Get<server::ProposalResult>(0, [this] {
    return server_->catalog().AlterSettings(
        {.settings = {{.name = "warp", .value = "9"}, {.name = "busy_poll_us", .value = "fast"}}});
  });
  ASSERT_TRUE(planted.has_value() && planted->failure.ok());
  StartServer();
  EXPECT_EQ(Describe(kBroker, "0", {"ringtail.busy_poll_us"})->body.results[0].configs[0].value,
            "20");
  EXPECT_EQ(Incremental({{kBroker, "0", {{"num.partitions", kSet, "3"}}}}),
            std::vector{ErrorCode::kNone})
      << last_message_;
  EXPECT_EQ(Incremental({{kBroker, "0", {{"warp", kSet, "8"}}}}),
            std::vector{ErrorCode::kInvalidConfig});
  EXPECT_EQ(Incremental({{kBroker,
                          "0",
                          {{"warp", kDelete, std::nullopt},
                           {"ringtail.busy_poll_us", kDelete, std::nullopt}}}}),
            std::vector{ErrorCode::kNone})
      << last_message_;
  EXPECT_EQ(server_->broker(0).image()->settings(),
            (server::Settings{{"default_partitions", "3"}}));
}

TEST_F(ConfigsSessionTest, ABrokersSettingsThatMakeNoSenseChangeNothing) {
  const auto refusal = [&](Change change, ErrorCode code) {
    EXPECT_EQ(Incremental({{kBroker, "0", {{"num.partitions", kSet, "3"}, change}}}),
              std::vector{code})
        << change.name;
    EXPECT_EQ(server_->broker(0).topic_defaults().partitions, 1u) << "all of it or nothing";
    return last_message_;
  };
  EXPECT_EQ(refusal({"ringtail.busy_poll_us", kSet, "-1"}, ErrorCode::kInvalidConfig),
            "busy_poll_us: expected 0..1000 us, came \"-1\"");
  refusal({"ringtail.busy_poll_us", kAppend, "1"}, ErrorCode::kInvalidConfig);
  refusal({"ringtail.busy_poll_us", kSet, std::nullopt}, ErrorCode::kInvalidRequest);
  refusal({"log.dirs", kSet, "/x"}, ErrorCode::kInvalidRequest);
  refusal({"ringtail.busy_poll", kSet, "1"}, ErrorCode::kInvalidConfig);
  refusal({"ringtail.send_rule", kSet, "soon"}, ErrorCode::kInvalidConfig);
}

TEST_F(ConfigsSessionTest, WhatCannotBeDescribedSaysWhy) {
  const auto refused = [&](int8_t type, const std::string& name, ErrorCode code) {
    const auto reply = Describe(type, name);
    EXPECT_EQ(static_cast<ErrorCode>(reply->body.results[0].error_code), code) << name;
    EXPECT_FALSE(reply->body.results[0].error_message.value_or("").empty());
    EXPECT_TRUE(reply->body.results[0].configs.empty());
    EXPECT_EQ(reply->body.results[0].resource_name, name);
  };
  refused(kTopic, "nowhere", ErrorCode::kUnknownTopicOrPartition);
  refused(kTopic, "", ErrorCode::kInvalidTopicException);
  refused(kTopic, "a/b", ErrorCode::kInvalidTopicException);
  refused(kTopic, "\xff\xfe", ErrorCode::kInvalidTopicException);
  refused(kBroker, "7", ErrorCode::kInvalidRequest);
  refused(kBroker, "zero", ErrorCode::kInvalidRequest);
  for (const int8_t type : {-1, 0, 1, 3, 8, 16, 32, 127}) {
    refused(type, "t", ErrorCode::kInvalidRequest);
  }
}

TEST_F(ConfigsSessionTest, IncrementalChangesSetAndResetSingleEntries) {
  for (int16_t version = 0; version <= 1; ++version) {
    const std::string value = absl::StrCat(65536 + version);
    EXPECT_EQ(Incremental({{kTopic, "t", {{"segment.bytes", kSet, value}}}}, true, version),
              std::vector{ErrorCode::kNone});
    EXPECT_NE(ValueOf("t", "segment.bytes"), value) << "only validated";
    EXPECT_EQ(Incremental({{kTopic, "t", {{"segment.bytes", kSet, value}}}}, false, version),
              std::vector{ErrorCode::kNone});
    EXPECT_EQ(ValueOf("t", "segment.bytes"), value);
    EXPECT_EQ(ValueOf("t", "retention.ms"), "1000") << "what is not named stays";
  }
  EXPECT_EQ(Incremental({{kTopic,
                          "t",
                          {{"retention.ms", kDelete, std::nullopt},
                           {"cleanup.policy", kAppend, "delete"}}}}),
            std::vector{ErrorCode::kNone});
  EXPECT_EQ(ValueOf("t", "retention.ms"), "604800000");
}

TEST_F(ConfigsSessionTest, LegacyChangesReplaceAllEntries) {
  for (int16_t version = 0; version <= 2; ++version) {
    EXPECT_EQ(Incremental({{kTopic, "t", {{"retention.ms", kSet, "1000"}}}}),
              std::vector{ErrorCode::kNone});
    EXPECT_EQ(Legacy({{kTopic, "t", {{"segment.ms", kSet, "77"}}}}, true, version),
              std::vector{ErrorCode::kNone});
    EXPECT_EQ(ValueOf("t", "retention.ms"), "1000");
    EXPECT_EQ(Legacy({{kTopic, "t", {{"segment.ms", kSet, "77"}}}}, false, version),
              std::vector{ErrorCode::kNone});
    EXPECT_EQ(ValueOf("t", "segment.ms"), "77");
    EXPECT_EQ(ValueOf("t", "retention.ms"), "604800000") << "what is not named is default again";
  }
  EXPECT_EQ(Legacy({{kTopic, "t", {{"segment.ms", kSet, std::nullopt}}}}),
            std::vector{ErrorCode::kInvalidRequest});
}

TEST_F(ConfigsSessionTest, EachResourceIsChangedOrRefusedOnItsOwn) {
  ASSERT_EQ(server_->CreateTopic("u").failure.error, base::Error::kNone);
  const Change fine{"segment.ms", kSet, "88"};
  const auto codes = Incremental({
      {kTopic, "nowhere", {fine}},
      {kTopic, "", {fine}},
      {kTopic, "a b", {fine}},
      {kTopic, "t", {fine, {"retention.ms", kSet, "-7"}}},
      {kTopic, "u", {fine}},
      {kBroker, "0", {{"log.retention.ms", kSet, "1"}}},
      {kBroker, "1", {{"no.such", kSet, "1"}}},
      {kBroker, "9", {}},
      {kBroker, "", {}},
      {int8_t{8}, "0", {{"root", kSet, "DEBUG"}}},
      {int8_t{-1}, "t", {fine}},
  });
  const std::vector<ErrorCode> expected = {
      ErrorCode::kUnknownTopicOrPartition,
      ErrorCode::kInvalidRequest,
      ErrorCode::kInvalidTopicException,
      ErrorCode::kInvalidConfig,
      ErrorCode::kNone,
      ErrorCode::kInvalidRequest,
      ErrorCode::kInvalidConfig,
      ErrorCode::kInvalidRequest,
      ErrorCode::kNone,
      ErrorCode::kInvalidRequest,
      ErrorCode::kInvalidRequest,
  };
  EXPECT_EQ(codes, expected);
  EXPECT_EQ(ValueOf("u", "segment.ms"), "88");
  EXPECT_EQ(ValueOf("t", "segment.ms"), "604800000") << "all of a topic's changes or none";
}

TEST_F(ConfigsSessionTest, MalformedChangesAreInvalidRequests) {
  const auto code = [&](std::vector<Change> changes) {
    return Incremental({{kTopic, "t", std::move(changes)}})[0];
  };
  EXPECT_EQ(code({{"segment.ms", kSet, "1"}, {"segment.ms", kDelete, std::nullopt}}),
            ErrorCode::kInvalidRequest);
  EXPECT_EQ(code({{"segment.ms", kSet, std::nullopt}}), ErrorCode::kInvalidRequest);
  EXPECT_EQ(code({{"segment.ms", 4, "1"}}), ErrorCode::kInvalidRequest);
  EXPECT_EQ(code({{"segment.ms", -1, "1"}}), ErrorCode::kInvalidRequest);
  EXPECT_EQ(code({{"segment.ms", kAppend, "1"}}), ErrorCode::kInvalidConfig);
  EXPECT_EQ(code({{"segment.ms", kSubtract, "1"}}), ErrorCode::kInvalidConfig);
  EXPECT_EQ(code({{"cleanup.policy", kSubtract, "delete"}}), ErrorCode::kInvalidConfig);
  EXPECT_EQ(code({{"", kSet, "1"}}), ErrorCode::kInvalidConfig);
  const std::string huge(32'000, '\xff');
  EXPECT_EQ(code({{huge, kSet, huge}}), ErrorCode::kInvalidConfig);
  EXPECT_LT(last_message_.size(), 1000u);
  for (const char c : last_message_) EXPECT_TRUE(c >= ' ' && c <= '~') << last_message_;
  EXPECT_EQ(Incremental({{kTopic, "t", {{"segment.ms", kSet, "5"}}},
                         {kTopic, "t", {{"segment.ms", kSet, "6"}}}}),
            (std::vector{ErrorCode::kInvalidRequest, ErrorCode::kInvalidRequest}));
  EXPECT_EQ(Incremental({}), std::vector<ErrorCode>());
  EXPECT_EQ(ValueOf("t", "segment.ms"), "604800000");
}

TEST_F(ConfigsSessionTest, TenThousandEntriesAndResources) {
  std::vector<std::string> names;
  for (int i = 0; i < 10'000; ++i) names.push_back(absl::StrCat("entry.", i));
  Resource many{kTopic, "t", {}};
  for (const std::string& name : names) many.changes.push_back({name, kSet, "1"});
  EXPECT_EQ(Incremental({many}), std::vector{ErrorCode::kInvalidConfig});
  std::vector<Resource> resources;
  for (const std::string& name : names) resources.push_back({kTopic, name, {}});
  EXPECT_EQ(Incremental(resources), std::vector(names.size(), ErrorCode::kUnknownTopicOrPartition));
  // Large answers end at a bound, and every resource has one.
  DescribeConfigsRequest request;
  request.include_synonyms = true;
  request.include_documentation = true;
  for (int i = 0; i < 10'000; ++i) {
    auto& resource = request.resources.Add(arena_);
    resource.resource_type = kBroker;
    resource.resource_name = "0";
  }
  const auto reply = Ask<DescribeConfigsResponse>(request, 4);
  ASSERT_EQ(reply->body.results.size(), 10'000u);
  EXPECT_EQ(reply->body.results[0].error_code, 0);
  EXPECT_EQ(reply->body.results[9'999].error_code, Wire(ErrorCode::kInvalidRequest));
  EXPECT_EQ(ValueOf("t", "retention.ms"), "1000") << "it serves on";
}

TEST_F(ConfigsSessionTest, PartitionsAreAddedInEveryVersionAndServeAtOnce) {
  for (int16_t version = 0; version <= 3; ++version) {
    const int32_t count = 3 + version;
    EXPECT_EQ(Grow("t", count, true, version), ErrorCode::kNone);
    EXPECT_EQ(server_->broker(0).image()->FindByName("t")->partitions.size(),
              static_cast<size_t>(count - 1));
    EXPECT_EQ(Grow("t", count, false, version), ErrorCode::kNone);
    const auto id = server_->IdOf("t", count - 1);
    for (uint32_t core = 0; core < 2; ++core) {
      EXPECT_EQ(server::ProduceOne(*server_, core, id, MakeBatch({})).base_offset.value(), core);
    }
    EXPECT_EQ(Grow("t", count, false, version), ErrorCode::kInvalidPartitions) << "not more";
  }
  EXPECT_EQ(Grow("t", 1), ErrorCode::kInvalidPartitions);
  EXPECT_EQ(Grow("t", 0), ErrorCode::kInvalidPartitions);
  EXPECT_EQ(Grow("t", -1), ErrorCode::kInvalidPartitions);
  EXPECT_EQ(Grow("t", 10'001), ErrorCode::kInvalidPartitions);
  EXPECT_EQ(Grow("nowhere", 5), ErrorCode::kUnknownTopicOrPartition);
  EXPECT_EQ(Grow("", 5), ErrorCode::kUnknownTopicOrPartition);
}

TEST_F(ConfigsSessionTest, AssignmentsAndTopicsNamedTwiceAreRefused) {
  CreatePartitionsRequest request;
  for (int i = 0; i < 2; ++i) {
    auto& twice = request.topics.Add(arena_);
    twice.name = "t";
    twice.count = 5;
    twice.assignments = std::nullopt;
  }
  const auto reply = Ask<CreatePartitionsResponse>(request, 3);
  ASSERT_EQ(reply->body.results.size(), 2u);
  for (const auto& result : reply->body.results) {
    EXPECT_EQ(result.error_code, Wire(ErrorCode::kInvalidRequest));
  }
  CreatePartitionsRequest assigned;
  auto& topic = assigned.topics.Add(arena_);
  topic.name = "t";
  topic.count = 3;
  topic.assignments.emplace();
  topic.assignments->Add(arena_).broker_ids.Add(arena_, 0);
  EXPECT_EQ(Ask<CreatePartitionsResponse>(assigned, 3)->body.results[0].error_code,
            Wire(ErrorCode::kInvalidReplicaAssignment));
  EXPECT_EQ(server_->broker(0).image()->FindByName("t")->partitions.size(), 2u);
}

TEST_F(ConfigsSessionTest, ACreatedTopicsConfigsAreTold) {
  CreateTopicsRequest request;
  auto& topic = request.topics.Add(arena_);
  topic.name = "made";
  topic.num_partitions = 3;
  topic.replication_factor = -1;
  auto& config = topic.configs.Add(arena_);
  config.name = "segment.bytes";
  config.value = "65536";
  const auto reply = Ask<CreateTopicsResponse>(request, 7);
  const auto& made = reply->body.topics[0];
  EXPECT_EQ(made.num_partitions, 3);
  EXPECT_EQ(made.replication_factor, 1);
  ASSERT_TRUE(made.configs.has_value());
  ASSERT_EQ(made.configs->size(), server::TopicConfigDefinitions().size());
  for (const auto& each : *made.configs) {
    const auto described = Describe(kTopic, "made", {std::string(each.name)});
    const Described& same = described->body.results[0].configs[0];
    EXPECT_EQ(each.value, same.value) << each.name;
    EXPECT_EQ(each.config_source, same.config_source) << each.name;
    EXPECT_FALSE(each.read_only);
  }
}

}  // namespace
}  // namespace ringtail::kafka
