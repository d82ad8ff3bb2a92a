#include "server/group/group_records.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/endian.h"
#include "server/group/record_text.h"

namespace ringtail::group {
namespace {

constexpr int16_t kOffsetKeyLegacy = 0;
constexpr int16_t kOffsetKey = 1;
constexpr int16_t kGroupKey = 2;

constexpr int16_t kValueVersionMax = 4;
constexpr int16_t kFlexibleFrom = 4;
constexpr int16_t kOffsetVersion = 3;
constexpr int16_t kOffsetVersionWithExpiry = 1;
constexpr int16_t kGroupVersion = 3;

absl::Status Damaged(absl::string_view what) {
  return absl::DataLossError(absl::StrCat(what, " ends early or holds impossible lengths"));
}

// The version, if it is one that is known.
absl::StatusOr<int16_t> TakeVersion(absl::string_view what, base::ByteView* value) {
  if (value->size() < sizeof(int16_t)) return Damaged(what);
  const auto version = base::LoadBe<int16_t>(value->data());
  if (version < 0 || version > kValueVersionMax) {
    return absl::DataLossError(
        absl::StrCat(what, " of version ", version, ", known are 0 to ", kValueVersionMax));
  }
  *value = value->subspan(sizeof(int16_t));
  return version;
}

MemberRecord ReadMember(TextReader& reader, int16_t version) {
  MemberRecord member;
  member.member_id = reader.Text();
  if (version >= 3) member.instance_id = reader.NullableText();
  member.client_id = reader.Text();
  member.client_host = reader.Text();
  if (version >= 1) member.rebalance_timeout_ms = reader.Number<int32_t>();
  member.session_timeout_ms = reader.Number<int32_t>();
  member.subscription = reader.Bytes();
  member.assignment = reader.Bytes();
  reader.SkipTagged();
  return member;
}

}  // namespace

std::string EncodeKey(const OffsetKey& key) {
  TextWriter out;
  out.Number(kOffsetKey);
  out.Text(key.group);
  out.Text(key.topic);
  out.Number(key.partition);
  return out.Take();
}

std::string EncodeKey(const GroupKey& key) {
  TextWriter out;
  out.Number(kGroupKey);
  out.Text(key.group);
  return out.Take();
}

std::string EncodeOffset(const CommittedOffset& committed) {
  TextWriter out;
  const bool expires = committed.expire_time_ms >= 0;
  out.Number(expires ? kOffsetVersionWithExpiry : kOffsetVersion);
  out.Number(committed.offset);
  if (!expires) out.Number(committed.leader_epoch);
  out.Text(committed.metadata);
  out.Number(committed.commit_time_ms);
  if (expires) out.Number(committed.expire_time_ms);
  return out.Take();
}

std::string EncodeGroup(const GroupRecord& group) {
  TextWriter out;
  out.Number(kGroupVersion);
  out.Text(group.protocol_type);
  out.Number(group.generation);
  out.NullableText(group.protocol);
  out.NullableText(group.leader);
  out.Number(group.state_time_ms);
  out.Number(static_cast<int32_t>(group.members.size()));
  for (const MemberRecord& member : group.members) {
    out.Text(member.member_id);
    out.NullableText(member.instance_id);
    out.Text(member.client_id);
    out.Text(member.client_host);
    out.Number(member.rebalance_timeout_ms);
    out.Number(member.session_timeout_ms);
    out.Bytes(member.subscription);
    out.Bytes(member.assignment);
  }
  return out.Take();
}

absl::StatusOr<RecordKey> DecodeKey(base::ByteView key) {
  TextReader reader(key, /*flexible=*/false);
  const auto kind = reader.Number<int16_t>();
  if (!reader.ok()) return Damaged("a record's key");
  RecordKey decoded = UnknownKey{.kind = kind};
  if (kind == kOffsetKey || kind == kOffsetKeyLegacy) {
    OffsetKey offset{.group = reader.Text(), .topic = reader.Text()};
    offset.partition = reader.Number<int32_t>();
    decoded = std::move(offset);
  } else if (kind == kGroupKey) {
    decoded = GroupKey{.group = reader.Text()};
  } else if (IsConsumerRecord(kind)) {
    ConsumerKey consumer{.kind = static_cast<ConsumerRecord>(kind), .group = reader.Text()};
    if (HasName(consumer.kind)) consumer.name = reader.Text();
    decoded = std::move(consumer);
  }
  if (!reader.ok()) return Damaged("a record's key");
  return decoded;
}

absl::StatusOr<CommittedOffset> DecodeOffset(base::ByteView value) {
  constexpr absl::string_view kWhat = "the value of a committed offset";
  const absl::StatusOr<int16_t> version = TakeVersion(kWhat, &value);
  if (!version.ok()) return version.status();
  TextReader reader(value, *version >= kFlexibleFrom);
  CommittedOffset committed;
  committed.offset = reader.Number<int64_t>();
  if (*version >= 3) committed.leader_epoch = reader.Number<int32_t>();
  committed.metadata = reader.Text();
  committed.commit_time_ms = reader.Number<int64_t>();
  if (*version == kOffsetVersionWithExpiry) committed.expire_time_ms = reader.Number<int64_t>();
  reader.SkipTagged();
  if (!reader.ok()) return Damaged(kWhat);
  return committed;
}

absl::StatusOr<GroupRecord> DecodeGroup(base::ByteView value) {
  constexpr absl::string_view kWhat = "the value of a group";
  const absl::StatusOr<int16_t> version = TakeVersion(kWhat, &value);
  if (!version.ok()) return version.status();
  TextReader reader(value, *version >= kFlexibleFrom);
  GroupRecord group;
  group.protocol_type = reader.Text();
  group.generation = reader.Number<int32_t>();
  group.protocol = reader.NullableText();
  group.leader = reader.NullableText();
  if (*version >= 2) group.state_time_ms = reader.Number<int64_t>();
  const int64_t count = reader.ArrayLength();
  // A member takes more than a byte: what cannot be there is not made room for.
  if (count < 0 || static_cast<uint64_t>(count) > reader.bytes_left()) return Damaged(kWhat);
  for (int64_t i = 0; i < count && reader.ok(); ++i) {
    group.members.push_back(ReadMember(reader, *version));
  }
  reader.SkipTagged();
  if (!reader.ok()) return Damaged(kWhat);
  return group;
}

namespace {

constexpr int16_t kEmbeddedVersionMax = 3;
constexpr int16_t kOwnedFrom = 1;
constexpr int16_t kGenerationFrom = 2;
constexpr int16_t kRackFrom = 3;

std::vector<NamedPartition> ReadNamedPartitions(TextReader& reader) {
  std::vector<NamedPartition> partitions;
  for (int64_t topics = reader.BoundedLength(); reader.ok() && topics > 0; --topics) {
    const std::string topic = reader.Text();
    for (int64_t left = reader.BoundedLength(); reader.ok() && left > 0; --left) {
      partitions.emplace_back(topic, reader.Number<int32_t>());
    }
  }
  return partitions;
}

}  // namespace

std::optional<EmbeddedSubscription> DecodeSubscription(absl::string_view metadata) {
  TextReader reader(base::AsBytes(metadata), /*flexible=*/false);
  EmbeddedSubscription subscription{.version = reader.Number<int16_t>()};
  const int64_t topics = reader.ArrayLength();
  if (!reader.ok() || subscription.version < 0 || topics < 0 ||
      static_cast<uint64_t>(topics) > reader.bytes_left()) {
    return std::nullopt;
  }
  for (int64_t i = 0; i < topics && reader.ok(); ++i) subscription.topics.push_back(reader.Text());
  // Some clients end here.
  if (!reader.ok()) return std::nullopt;
  if (reader.bytes_left() == 0) return subscription;
  reader.Bytes();  // of the assignor's own
  if (subscription.version >= kOwnedFrom) subscription.owned = ReadNamedPartitions(reader);
  if (subscription.version >= kGenerationFrom) reader.Number<int32_t>();
  if (subscription.version >= kRackFrom) subscription.rack = reader.NullableText();
  if (!reader.ok()) return std::nullopt;
  return subscription;
}

std::optional<EmbeddedAssignment> DecodeAssignment(absl::string_view assignment) {
  TextReader reader(base::AsBytes(assignment), /*flexible=*/false);
  const auto version = reader.Number<int16_t>();
  EmbeddedAssignment decoded{.partitions = ReadNamedPartitions(reader)};
  if (reader.bytes_left() > 0) decoded.has_user_data = !reader.Bytes().empty();
  if (!reader.ok() || version < 0) return std::nullopt;
  return decoded;
}

std::string EncodeAssignment(const std::vector<NamedPartition>& partitions, int16_t version) {
  const auto same = [](const NamedPartition& left, const NamedPartition& right) {
    return left.first == right.first;
  };
  std::vector<size_t> begins;  // of each topic
  for (size_t i = 0; i < partitions.size(); ++i) {
    if (i == 0 || !same(partitions[i - 1], partitions[i])) begins.push_back(i);
  }
  TextWriter out;
  out.Number(std::min(version, kEmbeddedVersionMax));
  out.ArrayLength(begins.size());
  for (size_t i = 0; i < begins.size(); ++i) {
    const size_t end = i + 1 < begins.size() ? begins[i + 1] : partitions.size();
    out.Text(partitions[begins[i]].first);
    out.ArrayLength(end - begins[i]);
    for (size_t at = begins[i]; at < end; ++at) out.Number(partitions[at].second);
  }
  out.Number(int32_t{-1});  // no user data
  return out.Take();
}

}  // namespace ringtail::group
