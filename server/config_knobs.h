// The knobs one by one: the fields of proto::config::Config through their descriptors. Parsing and
// printing of single values; nothing here knows a knob by name.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/descriptor.h"
#include "proto/config.pb.h"

namespace ringtail::server::knobs {

using Field = google::protobuf::FieldDescriptor;
using Message = proto::config::Config;

std::vector<const Field*> All();            // as declared
const Field* Find(absl::string_view name);  // nullptr: no such knob
const proto::config::Knob& OptionsOf(const Field* field);
bool IsBool(const Field* field);
bool IsNumber(const Field* field);

// `text` as one writes it behind --name=. InvalidArgument says what is allowed, without the name.
absl::Status Set(const Field* field, absl::string_view text, Message* config);
// Whether the value that is set is allowed.
absl::Status Check(const Field* field, const Message& config);
// The value as Set() takes it; sizes with a suffix where that is shorter and exact.
std::string Text(const Field* field, const Message& config);

// "0..65535", "64KiB..2147483647 bytes", "auto|ring|inline", "true|false"; empty: any text.
std::string Allowed(const Field* field);

// A size with KiB, MiB or GiB where it divides evenly.
std::string SizeText(int64_t bytes);
// The known word with the fewest edits from `word`; empty where none is near.
std::string Nearest(absl::string_view word, const std::vector<std::string>& known);
// `; did you mean "--x"?` or nothing.
std::string DidYouMean(absl::string_view word, absl::string_view prefix);

}  // namespace ringtail::server::knobs
