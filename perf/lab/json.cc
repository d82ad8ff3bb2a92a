#include "perf/lab/json.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "perf/lab/figures.h"
#include "perf/lab/report_words.h"
#include "perf/lib/check.h"

namespace ringtail::lab {
namespace {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;

constexpr int64_t kFormat = 1;
constexpr int64_t kMsMax = 253402300799999;  // the year 9999
constexpr size_t kTextBytesMax = 4096;
constexpr size_t kEntriesMax = 10'000;  // of a list: more than any machine has patience for
constexpr std::pair<Promise, const char*> kPromises[] = {{Promise::kNone, "none"},
                                                         {Promise::kPageCache, "page_cache"},
                                                         {Promise::kDevice, "device"},
                                                         {Promise::kDurable, "durable"}};

// Strings may hold any bytes.
template <typename AnyJson>
std::string Dump(const AnyJson& json) {
  return json.dump(-1, ' ', false, AnyJson::error_handler_t::replace);
}

// ---- Writing

OrderedJson PathJson(const PathResult& path) {
  OrderedJson json;
  json["path"] = path.path;
  json["engine"] = path.engine;
  for (const auto& [promise, name] : kPromises) {
    if (promise == path.promise) json["promise"] = name;
  }
  json["rounds"] = OrderedJson::object();
  for (const auto& [figure, values] : path.rounds) {
    for (const double value : values) {
      perf::Require(value >= 0 && value <= kFigureMax,
                    absl::StrFormat("%s, %s: expected a number from 0 to 1e15, came %g", path.path,
                                    figure, value));
    }
    if (!values.empty()) json["rounds"][figure] = values;
  }
  json["unavailable"] = path.unavailable;
  return json;
}

// A line for each path, so that two files can be read side by side.
std::string GroupText(const GroupResult& group) {
  OrderedJson parameters = OrderedJson::array();
  for (const Parameter& parameter : group.parameters) {
    parameters.push_back(
        {{"name", parameter.name}, {"value", parameter.value}, {"text", parameter.text}});
  }
  std::string out = absl::StrCat("    {\"family\":", Dump(Json(group.family)),
                                 ",\"parameters\":", Dump(parameters), ",\"paths\":[");
  const char* before = "\n";
  for (const PathResult& path : group.paths) {
    absl::StrAppend(&out, before, "      ", Dump(PathJson(path)));
    before = ",\n";
  }
  return absl::StrCat(out, "]}");
}

// ---- Reading

// A value and where it stands.
class Node {
 public:
  Node(const Json& value, std::string at) : value_(&value), at_(std::move(at)) {}

  [[noreturn]] void Refuse(absl::string_view expected) const { Refuse(expected, Came()); }
  [[noreturn]] void Refuse(absl::string_view expected, absl::string_view came) const {
    throw std::runtime_error(
        absl::StrCat(at_.empty() ? "the file" : at_, ": expected ", expected, ", came ", came));
  }

  Node Field(const char* name) const {
    if (!value_->is_object()) Refuse("an object");
    const auto found = value_->find(name);
    if (found == value_->end()) Child(name).Refuse("a value", "nothing");
    return {*found, Child(name).at_};
  }

  std::vector<std::pair<std::string, Node>> Fields() const {
    if (!value_->is_object()) Refuse("an object");
    CheckSize();
    std::vector<std::pair<std::string, Node>> fields;
    for (const auto& [name, value] : value_->items()) {
      fields.emplace_back(name, Node(value, Child(name).at_));
    }
    return fields;
  }

  std::vector<Node> Elements() const {
    if (!value_->is_array()) Refuse("a list");
    CheckSize();
    std::vector<Node> elements;
    for (size_t i = 0; i < value_->size(); ++i) {
      elements.emplace_back((*value_)[i], absl::StrCat(at_, "[", i, "]"));
    }
    return elements;
  }

  std::string Text() const {
    if (!value_->is_string()) Refuse("a string");
    const auto& text = value_->get_ref<const std::string&>();
    if (text.size() > kTextBytesMax) {
      Refuse(absl::StrCat("at most ", kTextBytesMax, " bytes"), absl::StrCat(text.size()));
    }
    return text;
  }

  std::string Name() const {
    std::string text = Text();
    if (text.empty()) Refuse("a name");
    return text;
  }

  bool Flag() const {
    if (!value_->is_boolean()) Refuse("true or false");
    return value_->get<bool>();
  }

  int64_t Integer(int64_t least, int64_t most) const {
    // Unsigned are those of 0 and more; the largest do not fit.
    const bool fits = value_->is_number_integer() &&
                      (!value_->is_number_unsigned() || value_->get<uint64_t>() <= INT64_MAX);
    const int64_t value = fits ? value_->get<int64_t>() : 0;
    if (!fits || value < least || value > most) {
      Refuse(absl::StrCat("a whole number from ", least, " to ", most));
    }
    return value;
  }

  double Number() const {
    const double value = value_->is_number() ? value_->get<double>() : -1;
    if (!(value >= 0 && value <= kFigureMax)) Refuse("a number from 0 to 1e15");
    return value;
  }

 private:
  Node Child(absl::string_view name) const {
    return {*value_, absl::StrCat(at_, at_.empty() ? "" : ".", Printable(name.substr(0, 64)))};
  }

  void CheckSize() const {
    if (value_->size() > kEntriesMax) {
      Refuse(absl::StrCat("at most ", kEntriesMax, " entries"), absl::StrCat(value_->size()));
    }
  }

  std::string Came() const {
    constexpr size_t kShown = 60;
    if (value_->is_object()) return "an object";
    if (value_->is_array()) return "a list";
    const std::string text = Dump(*value_);
    return text.size() <= kShown ? Printable(text)
                                 : absl::StrCat(Printable(text.substr(0, kShown)), "...");
  }

  const Json* value_;
  std::string at_;
};

Promise ParsePromise(const Node& node) {
  const std::string text = node.Text();
  for (const auto& [promise, name] : kPromises) {
    if (text == name) return promise;
  }
  node.Refuse("none, page_cache, device or durable");
}

std::map<std::string, std::vector<double>> ParseRounds(const Node& node) {
  std::map<std::string, std::vector<double>> rounds;
  size_t count = 0;
  for (const auto& [figure, list] : node.Fields()) {
    std::vector<double> values;
    for (const Node& value : list.Elements()) values.push_back(value.Number());
    if (values.empty()) list.Refuse("at least one round", "none");
    if (count == 0) count = values.size();
    if (values.size() != count) {
      list.Refuse(Count(count, "round") + " as in the other figures", absl::StrCat(values.size()));
    }
    rounds[figure] = std::move(values);
  }
  return rounds;
}

PathResult ParsePath(const Node& node) {
  PathResult path;
  path.path = node.Field("path").Name();
  path.engine = node.Field("engine").Flag();
  path.promise = ParsePromise(node.Field("promise"));
  path.rounds = ParseRounds(node.Field("rounds"));
  path.unavailable = node.Field("unavailable").Text();
  if (path.measured() && !path.unavailable.empty()) {
    node.Field("unavailable").Refuse("nothing beside rounds");
  }
  return path;
}

GroupResult ParseGroup(const Node& node) {
  GroupResult group;
  group.family = node.Field("family").Name();
  for (const Node& each : node.Field("parameters").Elements()) {
    group.parameters.push_back({each.Field("name").Name(),
                                each.Field("value").Integer(INT64_MIN, INT64_MAX),
                                each.Field("text").Text()});
  }
  std::set<std::string> names;
  for (const Node& each : node.Field("paths").Elements()) {
    group.paths.push_back(ParsePath(each));
    if (!names.insert(group.paths.back().path).second) {
      each.Field("path").Refuse("a path that its group does not have yet");
    }
  }
  return group;
}

}  // namespace

std::string ToJson(const LabResult& result) {
  const std::pair<const char*, Json> fields[] = {
      {"format", kFormat},         {"version", result.version}, {"started_ms", result.started_ms},
      {"seconds", result.seconds}, {"quick", result.quick},     {"partial", result.partial},
      {"machine", result.machine}, {"notes", result.notes}};
  perf::Require(result.seconds >= 0 && result.seconds <= kFigureMax, "a result that took no time");
  std::string out = "{\n";
  for (const auto& [name, value] : fields) {
    absl::StrAppend(&out, "  \"", name, "\": ", Dump(value), ",\n");
  }
  absl::StrAppend(&out, "  \"groups\": [");
  const char* before = "\n";
  for (const GroupResult& group : result.groups) {
    absl::StrAppend(&out, before, GroupText(group));
    before = ",\n";
  }
  return absl::StrCat(out, "]\n}\n");
}

LabResult FromJson(const std::string& text) {
  Json json;
  try {
    json = Json::parse(text);
  } catch (const Json::exception& error) {
    throw std::runtime_error(
        absl::StrCat("expected a JSON file of the lab, came one that cannot "
                     "be read: ",
                     Printable(error.what())));
  }
  const Node root(json, "");
  LabResult result;
  if (root.Field("format").Integer(0, INT64_MAX) != kFormat) {
    root.Field("format").Refuse(
        absl::StrCat("format ", kFormat, ", the only one this program reads"));
  }
  result.version = root.Field("version").Text();
  result.started_ms = root.Field("started_ms").Integer(0, kMsMax);
  result.seconds = root.Field("seconds").Number();
  result.quick = root.Field("quick").Flag();
  result.partial = root.Field("partial").Flag();
  for (const auto& [name, value] : root.Field("machine").Fields()) {
    result.machine[name] = value.Text();
  }
  for (const Node& note : root.Field("notes").Elements()) result.notes.push_back(note.Text());
  std::set<std::string> names;
  for (const Node& group : root.Field("groups").Elements()) {
    result.groups.push_back(ParseGroup(group));
    if (!names.insert(GroupName(result.groups.back())).second) {
      group.Refuse("a group that is not there yet", GroupName(result.groups.back()));
    }
  }
  return result;
}

}  // namespace ringtail::lab
