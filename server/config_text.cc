// The configuration in words: --help, the line in the log at start, the admin page.
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/config.h"
#include "server/config_knobs.h"

namespace ringtail::server {
namespace {

constexpr size_t kColumns = 96;
constexpr size_t kIndent = 6;

constexpr char kIntroduction[] =
    R"(ringtaild - a commit-log broker that Kafka clients can use, one thread per core, on io_uring

It needs no configuration: data goes to your own directory, and it listens on loopback.

  ringtaild
  ringtaild --data_dir=/srv/ringtail --cores=0-3
  ringtaild --config /etc/ringtail.conf --log_level=debug

Then, from another terminal:
  ringtail topic create greetings --partitions 1
  echo hello | ringtail produce greetings
  kcat -b 127.0.0.1:9092 -t greetings -C -e

Write --name=value or --name value; a bool is --name or --noname. Sizes take KiB, MiB and GiB.
)";

constexpr char kFileHelp[] =
    R"(
Configuration file
  --config FILE has the same names in protobuf's text format. A flag beats the file.

      # ringtail.conf
      data_dir: "/srv/ringtail"     # text in quotes
      cores: "0-3"
      kafka_port: 9092
      core_bytes_max: 268435456     # in a file a size is a plain number of bytes
      log_json: true

Other
  --help      this text
  --version   version and build id
)";

void AppendWrapped(absl::string_view text, std::string* out) {
  const std::string margin(kIndent, ' ');
  size_t column = kColumns;
  for (const absl::string_view word : absl::StrSplit(text, ' ')) {
    if (column + 1 + word.size() > kColumns) {
      if (!out->empty() && out->back() != '\n') out->push_back('\n');
      absl::StrAppend(out, margin, word);
      column = kIndent + word.size();
    } else {
      absl::StrAppend(out, " ", word);
      column += 1 + word.size();
    }
  }
  out->push_back('\n');
}

std::string Placeholder(const knobs::Field* field) {
  if (knobs::IsBool(field)) return "";
  if (!knobs::OptionsOf(field).values().empty()) return absl::StrCat("=", knobs::Allowed(field));
  return knobs::IsNumber(field) ? "=N" : "=TEXT";
}

std::string DefaultText(const knobs::Field* field) {
  const proto::config::Knob& knob = knobs::OptionsOf(field);
  return knob.default_().empty() ? knob.computed() : knob.default_();
}

absl::string_view SourceName(ConfigSource source) {
  switch (source) {
    case ConfigSource::kFile:
      return "file";
    case ConfigSource::kFlag:
      return "flag";
    case ConfigSource::kSet:
      return "set";
    case ConfigSource::kDefault:
      break;
  }
  return "default";
}

nlohmann::json ValueJson(const knobs::Field* field, const Config& config) {
  const google::protobuf::Reflection& reflection = *config.GetReflection();
  if (knobs::IsBool(field)) return reflection.GetBool(config, field);
  if (knobs::IsNumber(field)) return reflection.GetInt64(config, field);
  return reflection.GetString(config, field);
}

}  // namespace

std::string ConfigHelp() {
  std::string help = kIntroduction;
  std::string group;
  for (const knobs::Field* field : knobs::All()) {
    const proto::config::Knob& knob = knobs::OptionsOf(field);
    if (knob.group() != group) absl::StrAppend(&help, "\n", group = knob.group(), "\n");
    absl::StrAppend(&help, "  --", field->name(), Placeholder(field), "\n");
    std::string text = absl::StrCat(knob.help(), " Default: ", DefaultText(field));
    if (knobs::IsNumber(field)) absl::StrAppend(&text, ", range ", knobs::Allowed(field));
    AppendWrapped(absl::StrCat(text, knob.live() ? "; may be changed live." : "."), &help);
    for (const std::string& example : knob.example()) {
      absl::StrAppend(&help, std::string(kIndent, ' '), "e.g. ", example, "\n");
    }
  }
  return absl::StrCat(help, kFileHelp);
}

std::string ConfigSummary(const LoadedConfig& loaded) {
  std::string summary;
  for (const knobs::Field* field : knobs::All()) {
    const ConfigSource source = loaded.sources[static_cast<size_t>(field->number())];
    if (source == ConfigSource::kDefault) continue;
    absl::StrAppend(&summary, summary.empty() ? "" : " ", field->name(), "=",
                    knobs::Text(field, loaded.config));
  }
  return summary.empty() ? "all defaults" : summary;
}

std::string ConfigJson(const LoadedConfig& loaded) {
  nlohmann::json all = nlohmann::json::array();
  for (const knobs::Field* field : knobs::All()) {
    const proto::config::Knob& knob = knobs::OptionsOf(field);
    const ConfigSource source = loaded.sources[static_cast<size_t>(field->number())];
    all.push_back({{"name", field->name()},
                   {"value", ValueJson(field, loaded.config)},
                   {"text", knobs::Text(field, loaded.config)},
                   {"source", std::string(SourceName(source))},
                   {"default", DefaultText(field)},
                   {"allowed", knobs::Allowed(field)},
                   {"unit", knob.unit()},
                   {"live", knob.live()},
                   {"group", knob.group()},
                   {"help", knob.help()}});
  }
  return all.dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace ringtail::server
