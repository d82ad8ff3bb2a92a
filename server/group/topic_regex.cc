#include "server/group/topic_regex.h"

#include <re2/re2.h>

#include <cstdint>

namespace ringtail::group {
namespace {

// Of an expression while it is used: none is kept.
constexpr int64_t kRegexBytesMax = 1 << 20;

RE2::Options Options() {
  RE2::Options options(RE2::Quiet);
  options.set_max_mem(kRegexBytesMax);
  return options;
}

re2::StringPiece Piece(absl::string_view text) { return {text.data(), text.size()}; }

absl::Status StatusOf(const RE2& compiled) {
  return compiled.ok() ? absl::OkStatus() : absl::InvalidArgumentError(compiled.error());
}

}  // namespace

absl::Status CheckTopicRegex(absl::string_view regex) {
  return StatusOf(RE2(Piece(regex), Options()));
}

absl::StatusOr<std::vector<std::string>> MatchTopics(absl::string_view regex,
                                                     const server::Image& image) {
  const RE2 compiled(Piece(regex), Options());
  if (const absl::Status status = StatusOf(compiled); !status.ok()) return status;
  std::vector<std::string> names;
  for (const server::TopicImage& topic : image.topics()) {  // by name
    if (RE2::FullMatch(Piece(topic.name), compiled)) names.push_back(topic.name);
  }
  return names;
}

}  // namespace ringtail::group
