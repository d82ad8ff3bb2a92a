#include "server/config.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/config_checks.h"
#include "server/config_knobs.h"

namespace ringtail::server {
namespace {

ConfigEnvironment Environment() {
  ConfigEnvironment environment;
  environment.home = "/home/ann";
  environment.host_name = "box";
  environment.cpus = {0, 1, 2, 3};
  environment.version = "0.1.0 (build abc)";
  return environment;
}

absl::StatusOr<LoadedConfig> Load(std::vector<absl::string_view> arguments,
                                  const ConfigEnvironment& environment = Environment()) {
  return LoadConfig(arguments, environment);
}

// The message of a configuration that must be refused.
std::string Refusal(std::vector<absl::string_view> arguments) {
  const absl::StatusOr<LoadedConfig> loaded = Load(std::move(arguments));
  return loaded.ok() ? "(accepted)" : std::string(loaded.status().message());
}

#define EXPECT_HAS(text, part) EXPECT_TRUE(absl::StrContains(text, part)) << text

std::string WriteFile(const std::string& name, const std::string& text) {
  const std::string path = absl::StrCat(testing::TempDir(), "/", name);
  std::ofstream(path, std::ios::binary) << text;
  return path;
}

TEST(Config, NeedsNoArguments) {
  const auto loaded = Load({});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  const Config& config = loaded->config;
  EXPECT_EQ(config.data_dir(), "/home/ann/.local/share/ringtail");
  EXPECT_EQ(config.listen(), "127.0.0.1");
  EXPECT_EQ(config.advertise_host(), "127.0.0.1");
  EXPECT_EQ(config.kafka_port(), 9092);
  EXPECT_EQ(config.native_port(), 7092);
  EXPECT_EQ(config.admin_port(), 6092);
  EXPECT_EQ(config.core_bytes_max(), 256 << 20);
  EXPECT_EQ(config.send_path(), "auto");
  EXPECT_TRUE(config.pin_cores());
  EXPECT_FALSE(config.auto_create_topics());
  EXPECT_EQ(loaded->cpus, (std::vector<int>{0, 1, 2, 3}));
  EXPECT_TRUE(loaded->warnings.empty());
  EXPECT_EQ(ConfigSummary(*loaded), "all defaults");
}

TEST(Config, EveryFieldIsSetAndWithinItsOwnRange) {
  const auto loaded = Load({});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  for (const knobs::Field* field : knobs::All()) {
    SCOPED_TRACE(field->name());
    EXPECT_TRUE(loaded->config.GetReflection()->HasField(loaded->config, field));
    EXPECT_TRUE(knobs::Check(field, loaded->config).ok());
    const proto::config::Knob& knob = knobs::OptionsOf(field);
    EXPECT_FALSE(knob.group().empty());
    EXPECT_FALSE(knob.help().empty());
    EXPECT_NE(knob.default_().empty(), knob.computed().empty()) << "exactly one of the two";
    EXPECT_TRUE(!knobs::IsNumber(field) || (knob.has_min() && knob.has_max()));
  }
}

TEST(Config, DataDirectoryDependsOnTheUser) {
  ConfigEnvironment environment = Environment();
  environment.xdg_data_home = "/home/ann/data";
  EXPECT_EQ(Load({}, environment)->config.data_dir(), "/home/ann/data/ringtail");
  environment.xdg_data_home = "relative";  // the XDG specification: ignored
  EXPECT_EQ(Load({}, environment)->config.data_dir(), "/home/ann/.local/share/ringtail");
  environment.root = true;
  EXPECT_EQ(Load({}, environment)->config.data_dir(), "/var/lib/ringtail");
  environment = ConfigEnvironment{.cpus = {0}};
  EXPECT_HAS(Load({}, environment).status().message(), "--data_dir=PATH");
}

TEST(Config, TakesFlagsInEverySpelling) {
  const auto loaded = Load({"--kafka_port=1000", "--native-port", "2000", "--log_json",
                            "--nopin_cores", "--allow_unauthenticated=yes", "--core_bytes_max=1GiB",
                            "--buffer_bytes_kept", "512kib", "--listen=::1", "--kafka_port=1100"});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->config.kafka_port(), 1100) << "the last one wins";
  EXPECT_EQ(loaded->config.native_port(), 2000);
  EXPECT_TRUE(loaded->config.log_json());
  EXPECT_FALSE(loaded->config.pin_cores());
  EXPECT_TRUE(loaded->config.allow_unauthenticated());
  EXPECT_EQ(loaded->config.core_bytes_max(), 1 << 30);
  EXPECT_EQ(loaded->config.buffer_bytes_kept(), 512 << 10);
  EXPECT_EQ(loaded->config.advertise_host(), "::1");
  EXPECT_HAS(ConfigSummary(*loaded), "core_bytes_max=1GiB");
}

TEST(Config, FlagBeatsFileBeatsDefault) {
  const std::string path = WriteFile("good.conf",
                                     "# comment\ncores: \"0-1\"\nkafka_port: 1000\n"
                                     "native_port: 3000  log_json: true\n");
  const auto loaded = Load({"--kafka_port=2000", "--config", path});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->config.kafka_port(), 2000);
  EXPECT_EQ(loaded->config.native_port(), 3000);
  EXPECT_EQ(loaded->config.admin_port(), 6092);
  EXPECT_TRUE(loaded->config.log_json());
  EXPECT_EQ(loaded->cpus, (std::vector<int>{0, 1}));
  const auto json = nlohmann::json::parse(ConfigJson(*loaded));
  for (const auto& knob : json) {
    if (knob["name"] == "kafka_port") EXPECT_EQ(knob["source"], "flag");
    if (knob["name"] == "native_port") EXPECT_EQ(knob["source"], "file");
    if (knob["name"] == "native_port") EXPECT_EQ(knob["value"], 3000);
    if (knob["name"] == "admin_port") EXPECT_EQ(knob["source"], "default");
  }
  EXPECT_EQ(json.size(), knobs::All().size());
}

TEST(Config, UnknownFlagNamesTheNearest) {
  EXPECT_HAS(Refusal({"--kafka_prt=1"}), "did you mean \"--kafka_port\"?");
  EXPECT_HAS(Refusal({"--datadir", "/x"}), "did you mean \"--data_dir\"?");
  EXPECT_HAS(Refusal({"--confg=x"}), "did you mean \"--config\"?");
  EXPECT_HAS(Refusal({"--nolog_jsn"}), "unknown flag");
  EXPECT_HAS(Refusal({"--noconfig"}), "unknown flag");
  const std::string far = Refusal({"--zookeeper.connect=x"});
  EXPECT_HAS(far, "unknown flag --zookeeper.connect=x (--help");
  EXPECT_HAS(Refusal({"kafka_port=1"}), "expected --name=value");
  EXPECT_HAS(Refusal({"--log_json", "true"}), "expected --name=value");
}

TEST(Config, BadValuesNameWhatIsAllowed) {
  EXPECT_HAS(Refusal({"--kafka_port=65536"}), "0..65535");
  EXPECT_HAS(Refusal({"--kafka_port=-1"}), "0..65535");
  EXPECT_HAS(Refusal({"--kafka_port=http"}), "0..65535");
  EXPECT_HAS(Refusal({"--kafka_port="}), "0..65535");
  EXPECT_HAS(Refusal({"--kafka_port=1KiB"}), "0..65535");
  EXPECT_HAS(Refusal({"--kafka_port"}), "expected a value");
  EXPECT_HAS(Refusal({"--kafka_port", "--log_json"}), "expected a value");
  EXPECT_HAS(Refusal({"--send_path=rocket"}), "auto|splice|sendfile|mapped|send_zc|copy");
  EXPECT_HAS(Refusal({"--log_json=maybe"}), "true or false");
  EXPECT_HAS(Refusal({"--core_bytes_max=3"}), "1MiB..1024GiB");
  EXPECT_HAS(Refusal({"--core_bytes_max=99999999999GiB"}), "1MiB..1024GiB");
  EXPECT_HAS(Refusal({"--core_bytes_max=1.5GiB"}), "KiB, MiB or GiB");
  EXPECT_HAS(Refusal({"--broker_id=2147483"}), "0..2147482");
  EXPECT_HAS(Refusal({"--shutdown_grace_s=31"}), "0..30 s");
  EXPECT_HAS(Refusal({"--provided_buffers=100"}), "power of two");
  EXPECT_HAS(Refusal({"--connection_bytes_max=512MiB"}), "at most core_bytes_max");
}

TEST(Config, FileErrorsNameTheLine) {
  const auto refusal = [](const std::string& text) {
    return Refusal({"--config", WriteFile("bad.conf", text)});
  };
  EXPECT_HAS(refusal("kafka_port: 1\nnative_prt: 2\n"), "bad.conf:2:");
  EXPECT_HAS(refusal("kafka_port: 1\nnative_prt: 2\n"), "did you mean \"native_port\"?");
  EXPECT_HAS(refusal("\n\nkafka_port: 70000\n"), "bad.conf:3: kafka_port: expected 0..65535");
  EXPECT_HAS(refusal("log_json: true\nsend_path: \"rocket\""), "bad.conf:2: send_path: expected");
  EXPECT_HAS(refusal("data_dir: /srv"), "in quotes");
  EXPECT_HAS(refusal("cores: 4"), "in quotes");
  EXPECT_HAS(refusal("core_bytes_max: 256MiB"), "plain number of bytes");
  EXPECT_HAS(refusal("core_bytes_max: \"256MiB\""), "plain number of bytes");
  EXPECT_HAS(refusal("kafka_port: 1\nkafka_port: 2"), "bad.conf:2:");
  EXPECT_HAS(refusal("kafka_port: \xff\xfe\x01"), "bad.conf:1:");
  EXPECT_HAS(refusal(std::string(2 << 20, '#')), "larger than 1 MiB");
}

TEST(Config, FileThatCannotBeReadIsNamed) {
  EXPECT_HAS(Refusal({"--config", "/nowhere/ringtail.conf"}), "/nowhere/ringtail.conf");
  EXPECT_HAS(Refusal({"--config", testing::TempDir()}), "cannot read");
  EXPECT_HAS(Refusal({"--config="}), "expected a file");
}

TEST(Config, AnythingButLoopbackNeedsPermission) {
  EXPECT_HAS(Refusal({"--listen=0.0.0.0"}), "--allow_unauthenticated");
  EXPECT_HAS(Refusal({"--listen=192.168.1.7"}), "--allow_unauthenticated");
  EXPECT_HAS(Refusal({"--admin_listen=::"}), "--allow_unauthenticated");
  EXPECT_HAS(Refusal({"--listen=localhost"}), "not a name");
  EXPECT_TRUE(Load({"--listen=127.8.8.8"}).ok());
  const auto loaded = Load({"--listen=0.0.0.0", "--allow_unauthenticated"});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->config.advertise_host(), "box");
  EXPECT_EQ(loaded->config.admin_listen(), "127.0.0.1");
  ASSERT_EQ(loaded->warnings.size(), 1u);
  EXPECT_HAS(loaded->warnings[0], "without a password");
  EXPECT_EQ(Load({"--listen=10.0.0.1", "--allow_unauthenticated", "--advertise_host=kafka.example"})
                ->config.advertise_host(),
            "kafka.example");
  EXPECT_HAS(Refusal({"--advertise_host=a b"}), "host name");
}

TEST(Config, PortRangesMustNotOverlap) {
  EXPECT_HAS(Refusal({"--kafka_port=7090"}), "overlap");
  EXPECT_HAS(Refusal({"--admin_port=9096"}), "overlap");
  EXPECT_TRUE(Load({"--admin_port=9097"}).ok());
  EXPECT_TRUE(Load({"--kafka_port=7087", "--cores=4"}).ok());
  EXPECT_HAS(Refusal({"--kafka_port=65532"}), "at most 65531");
  EXPECT_TRUE(Load({"--kafka_port=65531"}).ok());
  EXPECT_TRUE(Load({"--kafka_port=0", "--native_port=0", "--admin_port=0"}).ok());
}

TEST(Config, CoresAreANumberOrAList) {
  const std::vector<int> allowed = {0, 1, 2, 3, 8};
  const auto cores = [&](absl::string_view text) { return *ParseCores(text, allowed); };
  EXPECT_EQ(cores(""), allowed);
  EXPECT_EQ(cores("2"), (std::vector<int>{0, 1}));
  EXPECT_EQ(cores("7"), (std::vector<int>{0, 1, 2, 3, 8, 0, 1}));
  EXPECT_EQ(cores("0-2,8"), (std::vector<int>{0, 1, 2, 8}));
  EXPECT_EQ(cores("8-8"), (std::vector<int>{8}));
  EXPECT_EQ(cores("3,1"), (std::vector<int>{3, 1}));
  for (const char* bad : {"0", "1001", "-1", "1-", "a", "1,,2", "2-1", "1,1", "0-3-8", "1.5", "+2",
                          " 2", "99999999999", "0-99999999999"}) {
    EXPECT_HAS(ParseCores(bad, allowed).status().message(), "\"0-3,8\"") << bad;
  }
  EXPECT_HAS(ParseCores("0-4", allowed).status().message(), "may use CPUs 0-3,8, not 4");
}

TEST(Config, CoresThatShareACpuAreNotPinned) {
  const auto shared = Load({"--cores=5"});
  ASSERT_TRUE(shared.ok()) << shared.status();
  EXPECT_FALSE(shared->config.pin_cores());
  EXPECT_EQ(shared->warnings.size(), 1u);
  ConfigEnvironment single = Environment();
  single.cpus = {0};
  EXPECT_FALSE(Load({}, single)->config.pin_cores());
  EXPECT_TRUE(Load({"--cores=1"}, single)->config.pin_cores());
  EXPECT_TRUE(Load({"--cores=5", "--pin_cores"}, single)->config.pin_cores());
}

TEST(Config, HelpNamesEveryFlagItsDefaultAndItsRange) {
  const auto loaded = Load({"--help"});
  ASSERT_TRUE(loaded.ok());
  const std::string& help = loaded->answer;
  for (const knobs::Field* field : knobs::All()) {
    EXPECT_HAS(help, absl::StrCat("  --", field->name()));
    EXPECT_HAS(help, knobs::OptionsOf(field).group());
  }
  for (const char* part : {"--config FILE", "--version", "e.g. --cores=0-3,8", "kcat -b",
                           "auto|splice|sendfile|mapped|send_zc|copy"}) {
    EXPECT_HAS(help, part);
  }
  for (const absl::string_view line : absl::StrSplit(help, '\n')) EXPECT_LE(line.size(), 100u);
  EXPECT_EQ(Load({"-h"})->answer, help);
}

TEST(Config, VersionAnswersEvenWithOtherFlags) {
  EXPECT_EQ(Load({"--cores=2", "--version"})->answer, "ringtaild 0.1.0 (build abc)\n");
}

TEST(Config, ExamplesInTheHelpAreAccepted) {
  for (const knobs::Field* field : knobs::All()) {
    for (const std::string& example : knobs::OptionsOf(field).example()) {
      ConfigEnvironment environment = Environment();
      for (int cpu = 4; cpu <= 8; ++cpu) environment.cpus.push_back(cpu);
      const std::vector<absl::string_view> arguments = absl::StrSplit(example, ' ');
      const auto loaded = LoadConfig(arguments, environment);
      EXPECT_TRUE(loaded.ok()) << example << ": " << loaded.status();
    }
  }
}

TEST(Config, ThisProcessHasACpuAndAHostName) {
  const ConfigEnvironment environment = ConfigEnvironment::OfThisProcess("1");
  EXPECT_FALSE(environment.cpus.empty());
  EXPECT_FALSE(environment.host_name.empty());
}

TEST(ConfigKnobs, SizesKeepTheirShortestExactForm) {
  EXPECT_EQ(knobs::SizeText(0), "0");
  EXPECT_EQ(knobs::SizeText(1), "1");
  EXPECT_EQ(knobs::SizeText(1024), "1KiB");
  EXPECT_EQ(knobs::SizeText(3 << 20), "3MiB");
  EXPECT_EQ(knobs::SizeText((3 << 20) + 1), "3145729");
}

}  // namespace
}  // namespace ringtail::server
