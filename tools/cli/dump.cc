#include "tools/cli/dump.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/base/endian.h"
#include "engine/log/batch.h"
#include "engine/records/record_reader.h"
#include "nlohmann/json.hpp"
#include "tools/cli/record_text.h"

namespace ringtail::cli {
namespace {

constexpr size_t kIndexEntryBytes = 8;
constexpr size_t kTimeIndexEntryBytes = 12;
constexpr size_t kBaseNameDigits = 20;

absl::string_view BaseName(absl::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == absl::string_view::npos ? path : path.substr(slash + 1);
}

bool AllZero(base::ByteView bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; });
}

std::string Shown(const std::optional<base::ByteView>& bytes) {
  return bytes ? absl::StrCat("'", absl::CHexEscape(base::AsText(*bytes)), "'") : "null";
}

std::string BatchLine(const log::BatchView& batch, size_t position, bool crc_ok, bool json) {
  if (json) {
    nlohmann::ordered_json line;
    line["position"] = position;
    line["base_offset"] = batch.base_offset().value();
    line["last_offset"] = batch.last_offset().value();
    line["records"] = batch.record_count();
    line["bytes"] = batch.size_bytes();
    line["codec"] = std::string(log::CodecName(batch.codec()));
    line["base_timestamp"] = batch.base_timestamp_ms();
    line["max_timestamp"] = batch.max_timestamp_ms();
    line["log_append_time"] = batch.log_append_time();
    line["leader_epoch"] = batch.leader_epoch();
    line["producer_id"] = batch.producer_id();
    line["producer_epoch"] = batch.producer_epoch();
    line["base_sequence"] = batch.base_sequence();
    line["transactional"] = batch.transactional();
    line["control"] = batch.control();
    line["crc"] = batch.crc();
    line["crc_ok"] = crc_ok;
    return line.dump();
  }
  std::string line = absl::StrCat(
      "position ", position, " offsets ", batch.base_offset().value(), "..",
      batch.last_offset().value(), " records ", batch.record_count(), " bytes ", batch.size_bytes(),
      " codec ", log::CodecName(batch.codec()), " timestamps ", batch.base_timestamp_ms(), "..",
      batch.max_timestamp_ms(), " epoch ", batch.leader_epoch());
  if (batch.has_producer()) {
    absl::StrAppend(&line, " producer ", batch.producer_id(), "/", batch.producer_epoch(),
                    " sequence ", batch.base_sequence());
  }
  if (batch.log_append_time()) absl::StrAppend(&line, " log-append-time");
  if (batch.transactional()) absl::StrAppend(&line, " transactional");
  if (batch.control()) absl::StrAppend(&line, " control");
  absl::StrAppend(&line, crc_ok ? " crc ok" : " CRC WRONG");
  return line;
}

std::string RecordLine(const records::Record& record, bool json) {
  if (json) {
    client::ConsumerRecord shown;
    shown.offset = record.offset.value();
    shown.timestamp_ms = record.timestamp_ms;
    if (record.key()) shown.key = base::AsText(*record.key());
    if (record.value()) shown.value = base::AsText(*record.value());
    shown.fields = record.fields;
    std::string text;
    AppendRecordText(shown, RecordFormat::kJson, "", &text);
    nlohmann::ordered_json line = nlohmann::ordered_json::parse(text);
    line.erase("topic");
    line.erase("partition");
    return line.dump();
  }
  std::string line =
      absl::StrCat("  offset ", record.offset.value(), " timestamp ", record.timestamp_ms, " key ",
                   Shown(record.key()), " value ", Shown(record.value()));
  for (log::HeaderCursor cursor = record.headers(); cursor.Next();) {
    absl::StrAppend(&line, " header ", absl::CHexEscape(base::AsText(cursor.header().key)), "=",
                    Shown(cursor.header().value));
  }
  return line;
}

void AddDamage(std::string* damage, absl::string_view what) {
  if (damage->empty()) *damage = std::string(what);
}

}  // namespace

absl::StatusOr<DumpKind> KindOf(absl::string_view path) {
  if (absl::EndsWith(path, ".log")) return DumpKind::kSegment;
  if (absl::EndsWith(path, ".index")) return DumpKind::kOffsetIndex;
  if (absl::EndsWith(path, ".timeindex")) return DumpKind::kTimeIndex;
  return absl::InvalidArgumentError(
      absl::StrCat(path, ": not a .log, .index or .timeindex file of a partition"));
}

absl::StatusOr<int64_t> BaseOffsetOf(absl::string_view path) {
  const absl::string_view name = BaseName(path);
  int64_t offset = 0;
  if (name.size() < kBaseNameDigits ||
      !absl::SimpleAtoi(name.substr(0, kBaseNameDigits), &offset) || offset < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": its name must begin with the segment's base offset in 20 digits"));
  }
  return offset;
}

DumpResult DumpSegment(base::ByteView file, const DumpOptions& options, const DumpLine& line) {
  DumpResult result;
  records::RecordReader reader;
  log::BatchWalker walker(file);
  int64_t expected = 0;
  while (walker.Next()) {
    const log::BatchView& batch = walker.batch();
    const bool crc_ok = batch.crc() == batch.ComputeCrc();
    line(BatchLine(batch, walker.position(), crc_ok, options.json));
    ++result.batches;
    result.records += static_cast<uint64_t>(std::max(batch.record_count(), 0));
    const log::BatchError error = log::ValidateBatch(batch, log::BatchRules::Verbatim());
    if (error != log::BatchError::kNone) {
      AddDamage(&result.damage, absl::StrCat("batch at position ", walker.position(), ": ",
                                             log::BatchErrorText(error)));
      continue;
    }
    if (batch.base_offset().value() < expected) {
      AddDamage(&result.damage, absl::StrCat("batch at position ", walker.position(),
                                             ": its offset is not above the last one"));
    }
    expected = batch.next_offset().value();
    if (!options.records) continue;
    absl::Status status = reader.Open(batch);
    while (status.ok() && reader.Next()) line(RecordLine(reader.record(), options.json));
    if (status.ok()) status = reader.status();
    if (!status.ok()) {
      AddDamage(&result.damage,
                absl::StrCat("batch at position ", walker.position(), ": ", status.message()));
    }
  }
  result.bytes = walker.end();
  const base::ByteView rest = file.subspan(walker.end());
  if (AllZero(rest)) {
    result.zeros = rest.size();
  } else {
    AddDamage(&result.damage,
              absl::StrCat("no whole batch at position ", walker.end(), ", ", rest.size(),
                           " bytes before the end: ", log::BatchErrorText(walker.error())));
  }
  return result;
}

DumpResult DumpIndex(base::ByteView file, DumpKind kind, int64_t base_offset,
                     const DumpOptions& options, const DumpLine& line) {
  DumpResult result;
  const bool time = kind == DumpKind::kTimeIndex;
  const size_t entry_bytes = time ? kTimeIndexEntryBytes : kIndexEntryBytes;
  int64_t last_offset = -1;
  int64_t last_value = -1;
  for (size_t at = 0; at + entry_bytes <= file.size(); at += entry_bytes) {
    const base::ByteView entry = file.subspan(at, entry_bytes);
    // The files of a running broker are preallocated; an entry of zeros follows no other one.
    if (at > 0 && AllZero(file.subspan(at))) break;
    const uint8_t* bytes = entry.data();
    const int64_t value = time ? base::LoadBe<int64_t>(bytes) : base::LoadBe<int32_t>(bytes + 4);
    const int64_t offset = base_offset + base::LoadBe<int32_t>(bytes + (time ? 8 : 0));
    const char* name = time ? "timestamp" : "position";
    if (options.json) {
      nlohmann::ordered_json json;
      json["offset"] = offset;
      json[name] = value;
      line(json.dump());
    } else {
      line(absl::StrCat("offset ", offset, " ", name, " ", value));
    }
    if (at > 0 && (offset <= last_offset || value <= last_value) &&
        !(time && offset == last_offset)) {
      AddDamage(&result.damage,
                absl::StrCat("entry ", result.batches, " is not above the one before it"));
    }
    last_offset = offset;
    last_value = value;
    ++result.batches;
    result.bytes += entry_bytes;
  }
  const base::ByteView rest = file.subspan(result.bytes);
  if (AllZero(rest)) {
    result.zeros = rest.size();
  } else {
    AddDamage(&result.damage, absl::StrCat(rest.size(), " bytes at the end are no whole entry"));
  }
  return result;
}

}  // namespace ringtail::cli
