#include "server/group/consumer_records.h"

#include "absl/strings/str_cat.h"
#include "engine/base/result.h"
#include "server/group/record_text.h"

namespace ringtail::group {
namespace {

constexpr int16_t kVersion = 0;
constexpr uint32_t kMetadataHashTag = 0;
constexpr uint32_t kClassicTag = 0;

TextWriter NewValue() {
  TextWriter out(/*flexible=*/true);
  out.Number(kVersion);
  return out;
}

void WritePartitions(const PartitionSet& partitions, TextWriter* out) {
  size_t topics = 0;
  ForEachTopic(partitions, [&](const base::Uuid&, auto, auto) { ++topics; });
  out->ArrayLength(topics);
  ForEachTopic(partitions, [&](const base::Uuid& topic, auto begin, auto end) {
    out->Uuid(topic);
    out->ArrayLength(static_cast<size_t>(end - begin));
    for (auto each = begin; each != end; ++each) out->Number(each->partition);
    out->NoTagged();
  });
}

PartitionSet ReadPartitions(TextReader& reader) {
  PartitionSet partitions;
  for (int64_t topics = reader.BoundedLength(); reader.ok() && topics > 0; --topics) {
    const base::Uuid topic = reader.Uuid();
    for (int64_t left = reader.BoundedLength(); reader.ok() && left > 0; --left) {
      partitions.push_back({topic, reader.Number<int32_t>()});
    }
    reader.SkipTagged();
  }
  Normalize(&partitions);
  return partitions;
}

void WriteTexts(const std::vector<std::string>& texts, TextWriter* out) {
  out->ArrayLength(texts.size());
  for (const std::string& each : texts) out->Text(each);
}

std::vector<std::string> ReadTexts(TextReader& reader) {
  std::vector<std::string> texts;
  for (int64_t left = reader.BoundedLength(); reader.ok() && left > 0; --left) {
    texts.push_back(reader.Text());
  }
  std::sort(texts.begin(), texts.end());
  return texts;
}

// A nullable struct begins with a byte that says whether it is there.
std::string EncodeClassic(const ClassicMetadata& classic) {
  TextWriter out(/*flexible=*/true);
  out.Number(int8_t{1});
  out.Number(classic.session_timeout_ms);
  out.ArrayLength(classic.protocols.size());
  for (const auto& [name, metadata] : classic.protocols) {
    out.Text(name);
    out.Bytes(metadata);
    out.NoTagged();
  }
  out.NoTagged();
  return out.Take();
}

bool ReadClassic(base::ByteView bytes, std::optional<ClassicMetadata>* classic) {
  TextReader reader(bytes, /*flexible=*/true);
  if (reader.Number<int8_t>() < 0) return reader.ok();
  ClassicMetadata& read = classic->emplace();
  read.session_timeout_ms = reader.Number<int32_t>();
  for (int64_t left = reader.BoundedLength(); reader.ok() && left > 0; --left) {
    std::string name = reader.Text();
    read.protocols.emplace_back(std::move(name), reader.Bytes());
    reader.SkipTagged();
  }
  reader.SkipTagged();
  return reader.ok();
}

absl::Status Damaged(absl::string_view what) {
  return absl::DataLossError(absl::StrCat(what, " ends early or holds impossible lengths"));
}

// `read` reads one value; its version is looked at first.
template <class Value, class Read>
absl::StatusOr<Value> Decode(absl::string_view what, base::ByteView bytes, Read read) {
  if (bytes.size() < sizeof(int16_t)) return Damaged(what);
  const auto version = base::LoadBe<int16_t>(bytes.data());
  if (version != kVersion) {
    return absl::DataLossError(
        absl::StrCat(what, " of version ", version, ", known is ", kVersion));
  }
  TextReader reader(bytes.subspan(sizeof(int16_t)), /*flexible=*/true);
  Value value = read(reader);
  if (!reader.ok()) return Damaged(what);
  return value;
}

}  // namespace

bool IsConsumerRecord(int16_t kind) {
  return (kind >= static_cast<int16_t>(ConsumerRecord::kGroup) &&
          kind <= static_cast<int16_t>(ConsumerRecord::kCurrent)) ||
         kind == static_cast<int16_t>(ConsumerRecord::kRegex);
}

bool HasName(ConsumerRecord kind) {
  switch (kind) {
    case ConsumerRecord::kGroup:
    case ConsumerRecord::kPartitionMetadata:
    case ConsumerRecord::kTargetEpoch:
      return false;
    case ConsumerRecord::kMember:
    case ConsumerRecord::kTargetMember:
    case ConsumerRecord::kCurrent:
    case ConsumerRecord::kRegex:
      return true;
  }
  return false;
}

std::string EncodeKey(const ConsumerKey& key) {
  TextWriter out;
  out.Number(static_cast<int16_t>(key.kind));
  out.Text(key.group);
  if (HasName(key.kind)) out.Text(key.name);
  return out.Take();
}

std::string EncodeConsumerGroup(const ConsumerGroupValue& group) {
  TextWriter out = NewValue();
  out.Number(group.epoch);
  if (group.metadata_hash == 0) {
    out.NoTagged();
  } else {
    TextWriter hash;
    hash.Number(group.metadata_hash);
    out.Tagged(kMetadataHashTag, hash.Take());
  }
  return out.Take();
}

std::string EncodeConsumerMember(const ConsumerMemberValue& member) {
  TextWriter out = NewValue();
  out.NullableText(member.instance_id);
  out.NullableText(member.rack_id);
  out.Text(member.client_id);
  out.Text(member.client_host);
  WriteTexts(member.topics, &out);
  out.NullableText(member.regex);
  out.Number(member.rebalance_timeout_ms);
  out.NullableText(member.assignor);
  if (member.classic.has_value()) {
    out.Tagged(kClassicTag, EncodeClassic(*member.classic));
  } else {
    out.NoTagged();
  }
  return out.Take();
}

std::string EncodeTargetEpoch(int32_t epoch) {
  TextWriter out = NewValue();
  out.Number(epoch);
  out.NoTagged();
  return out.Take();
}

std::string EncodeTargetMember(const PartitionSet& partitions) {
  TextWriter out = NewValue();
  WritePartitions(partitions, &out);
  out.NoTagged();
  return out.Take();
}

std::string EncodeCurrentAssignment(const CurrentAssignmentValue& current) {
  TextWriter out = NewValue();
  out.Number(current.epoch);
  out.Number(current.previous_epoch);
  out.Number(static_cast<int8_t>(current.state));
  WritePartitions(current.assigned, &out);
  WritePartitions(current.revoking, &out);
  out.NoTagged();
  return out.Take();
}

std::string EncodeRegex(const RegexValue& regex) {
  TextWriter out = NewValue();
  WriteTexts(regex.topics, &out);
  out.Number(regex.version);
  out.Number(regex.time_ms);
  out.NoTagged();
  return out.Take();
}

absl::StatusOr<ConsumerGroupValue> DecodeConsumerGroup(base::ByteView value) {
  return Decode<ConsumerGroupValue>("the value of a consumer group", value, [](TextReader& reader) {
    ConsumerGroupValue group{.epoch = reader.Number<int32_t>()};
    reader.ForEachTagged([&](uint32_t tag, base::ByteView bytes) {
      if (tag == kMetadataHashTag && bytes.size() == sizeof(int64_t)) {
        group.metadata_hash = base::LoadBe<int64_t>(bytes.data());
      }
    });
    return group;
  });
}

absl::StatusOr<ConsumerMemberValue> DecodeConsumerMember(base::ByteView value) {
  constexpr absl::string_view kWhat = "the value of a consumer group's member";
  bool classic_ok = true;
  absl::StatusOr<ConsumerMemberValue> decoded =
      Decode<ConsumerMemberValue>(kWhat, value, [&](TextReader& reader) {
        ConsumerMemberValue member;
        member.instance_id = reader.NullableText();
        member.rack_id = reader.NullableText();
        member.client_id = reader.Text();
        member.client_host = reader.Text();
        member.topics = ReadTexts(reader);
        member.regex = reader.NullableText();
        member.rebalance_timeout_ms = reader.Number<int32_t>();
        member.assignor = reader.NullableText();
        reader.ForEachTagged([&](uint32_t tag, base::ByteView bytes) {
          if (tag == kClassicTag) classic_ok &= ReadClassic(bytes, &member.classic);
        });
        return member;
      });
  if (decoded.ok() && !classic_ok) return Damaged(kWhat);
  return decoded;
}

absl::StatusOr<int32_t> DecodeTargetEpoch(base::ByteView value) {
  return Decode<int32_t>("the epoch of a target assignment", value, [](TextReader& reader) {
    const auto epoch = reader.Number<int32_t>();
    reader.SkipTagged();
    return epoch;
  });
}

absl::StatusOr<PartitionSet> DecodeTargetMember(base::ByteView value) {
  return Decode<PartitionSet>("a member's target assignment", value, [](TextReader& reader) {
    PartitionSet partitions = ReadPartitions(reader);
    reader.SkipTagged();
    return partitions;
  });
}

absl::StatusOr<CurrentAssignmentValue> DecodeCurrentAssignment(base::ByteView value) {
  return Decode<CurrentAssignmentValue>(
      "a member's current assignment", value, [](TextReader& reader) {
        CurrentAssignmentValue current;
        current.epoch = reader.Number<int32_t>();
        current.previous_epoch = reader.Number<int32_t>();
        const auto state = reader.Number<int8_t>();
        // A state that is not known is one that reconciles anew.
        if (state == static_cast<int8_t>(MemberState::kUnrevokedPartitions) ||
            state == static_cast<int8_t>(MemberState::kUnreleasedPartitions)) {
          current.state = static_cast<MemberState>(state);
        }
        current.assigned = ReadPartitions(reader);
        current.revoking = ReadPartitions(reader);
        reader.SkipTagged();
        return current;
      });
}

absl::StatusOr<RegexValue> DecodeRegex(base::ByteView value) {
  return Decode<RegexValue>("a regular expression's topics", value, [](TextReader& reader) {
    RegexValue regex{.topics = ReadTexts(reader)};
    regex.version = reader.Number<int64_t>();
    regex.time_ms = reader.Number<int64_t>();
    reader.SkipTagged();
    return regex;
  });
}

absl::Status ConsumerGroupImage::Apply(const ConsumerKey& key,
                                       std::optional<base::ByteView> value) {
  switch (key.kind) {
    case ConsumerRecord::kGroup:
      group.reset();
      if (value.has_value()) {
        RT_ASSIGN_OR_RETURN(group, DecodeConsumerGroup(*value));
      }
      break;
    case ConsumerRecord::kPartitionMetadata:
      break;  // the topics are looked at anew
    case ConsumerRecord::kMember:
      members.erase(key.name);
      if (value.has_value()) {
        RT_ASSIGN_OR_RETURN(members[key.name], DecodeConsumerMember(*value));
      }
      break;
    case ConsumerRecord::kTargetEpoch:
      target_epoch = 0;
      if (value.has_value()) {
        RT_ASSIGN_OR_RETURN(target_epoch, DecodeTargetEpoch(*value));
      }
      break;
    case ConsumerRecord::kTargetMember:
      targets.erase(key.name);
      if (value.has_value()) {
        RT_ASSIGN_OR_RETURN(targets[key.name], DecodeTargetMember(*value));
      }
      break;
    case ConsumerRecord::kCurrent:
      current.erase(key.name);
      if (value.has_value()) {
        RT_ASSIGN_OR_RETURN(current[key.name], DecodeCurrentAssignment(*value));
      }
      break;
    case ConsumerRecord::kRegex:
      regexes.erase(key.name);
      if (value.has_value()) {
        RT_ASSIGN_OR_RETURN(regexes[key.name], DecodeRegex(*value));
      }
      break;
  }
  return absl::OkStatus();
}

}  // namespace ringtail::group
