#include "server/cluster/local_catalog.h"

#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "engine/base/crc32c.h"
#include "engine/base/endian.h"
#include "engine/base/logging.h"
#include "engine/base/result.h"
#include "engine/io/file.h"
#include "server/cluster/internal_topics.h"

namespace ringtail::server {
namespace {

constexpr absl::string_view kMagic = "RTCAT001";
constexpr size_t kPrefixBytes = 16;
constexpr uint32_t kFormatVersion = 1;
constexpr int64_t kCatalogBytesMax = int64_t{256} << 20;
constexpr uint32_t kPartitionsPerTopicMax = 10'000;
constexpr uint32_t kPartitionsMax = 100'000;
constexpr uint32_t kSlots = 65536;
constexpr int64_t kReserveRoom = 4;  // times the reserve must be free to make it

absl::Status Damaged(absl::string_view what) {
  return absl::DataLossError(absl::StrCat(
      "the catalog file is damaged: ", what,
      "; restore `catalog` from a copy of the data directory, or move it away to start "
      "without topics (their directories are kept)"));
}

uint32_t CountPartitions(const proto::catalog::CatalogFile& file) {
  uint32_t count = 0;
  for (const auto& topic : file.topics()) count += static_cast<uint32_t>(topic.partitions_size());
  return count;
}

// Slots from the next free core class on, so that the leaders of small topics walk all cores.
// `taken` partitions are there already.
void AddPartitions(const proto::catalog::CatalogFile& file, uint32_t taken, uint32_t count,
                   proto::catalog::Topic* topic) {
  for (uint32_t partition = 0; partition < count; ++partition) {
    auto* state = topic->add_partitions();
    state->set_slot((taken + partition) % kSlots);
    state->add_replicas(static_cast<int32_t>(file.broker_id()));
    state->add_isr(static_cast<int32_t>(file.broker_id()));
    state->set_leader(static_cast<int32_t>(file.broker_id()));
    state->set_leader_epoch(static_cast<int32_t>(file.incarnation()));
    state->set_leader_incarnation(file.incarnation());
  }
}

// Why a topic may not have `count` partitions, `added` of them besides the broker's `taken`.
absl::Status CheckPartitions(uint32_t taken, uint32_t count, uint32_t added) {
  if (count < 1 || count > kPartitionsPerTopicMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("a topic has 1 to ", kPartitionsPerTopicMax, " partitions, got ", count));
  }
  if (added > kPartitionsMax - std::min(taken, kPartitionsMax)) {
    return absl::InvalidArgumentError(absl::StrCat("a broker keeps at most ", kPartitionsMax,
                                                   " partitions, this one has ", taken));
  }
  return absl::OkStatus();
}

// Whether retention lets more go than before.
bool ShortensRetention(const TopicConfig& before, const TopicConfig& after) {
  const auto less = [](int64_t was, int64_t is) { return is >= 0 && (was < 0 || is < was); };
  return less(before.retention_ms, after.retention_ms) ||
         less(before.retention_bytes, after.retention_bytes);
}

}  // namespace

std::string EncodeCatalogFile(const proto::catalog::CatalogFile& file) {
  std::string body = file.SerializeAsString();
  std::string bytes(kMagic.data(), kMagic.size());
  bytes.resize(kPrefixBytes);
  auto* raw = reinterpret_cast<uint8_t*>(bytes.data());
  base::StoreLe<uint32_t>(raw + 8, base::Crc32c(base::AsBytes(body)));
  base::StoreLe<uint32_t>(raw + 12, static_cast<uint32_t>(body.size()));
  return bytes + body;
}

absl::StatusOr<proto::catalog::CatalogFile> DecodeCatalogFile(absl::string_view bytes) {
  if (bytes.size() < kPrefixBytes || bytes.substr(0, kMagic.size()) != kMagic) {
    return Damaged("it does not begin with RTCAT001");
  }
  const auto* raw = reinterpret_cast<const uint8_t*>(bytes.data());
  const absl::string_view body = bytes.substr(kPrefixBytes);
  if (base::LoadLe<uint32_t>(raw + 12) != body.size()) return Damaged("its length does not fit");
  if (base::LoadLe<uint32_t>(raw + 8) != base::Crc32c(base::AsBytes(body))) {
    return Damaged("its checksum does not fit");
  }
  proto::catalog::CatalogFile file;
  if (!file.ParseFromArray(body.data(), static_cast<int>(body.size()))) {
    return Damaged("it is not a CatalogFile message");
  }
  if (file.format_version() != kFormatVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat("the catalog file has format version ", file.format_version(),
                     ", this program knows ", kFormatVersion, "; use a newer ringtaild"));
  }
  return file;
}

proto::catalog::CatalogFile NewCatalogFile(int32_t broker_id) {
  proto::catalog::CatalogFile file;
  file.set_format_version(kFormatVersion);
  const base::Uuid cluster_id = base::Uuid::Random();
  const base::Uuid directory_id = base::Uuid::Random();
  file.set_cluster_id(cluster_id.bytes.data(), cluster_id.bytes.size());
  file.set_directory_id(directory_id.bytes.data(), directory_id.bytes.size());
  file.set_broker_id(static_cast<uint32_t>(broker_id));
  file.set_next_producer_id(1);
  return file;
}

void AddTopic(const std::string& name, const base::Uuid& id,
              const std::map<std::string, std::string>& configs, uint32_t partitions,
              proto::catalog::CatalogFile* file) {
  const uint32_t taken = CountPartitions(*file);
  auto* topic = file->add_topics();
  topic->set_name(name);
  topic->set_topic_id(id.bytes.data(), id.bytes.size());
  topic->mutable_configs()->insert(configs.begin(), configs.end());
  AddPartitions(*file, taken, partitions, topic);
}

LocalCatalog::LocalCatalog(io::Backend& backend, std::string data_directory)
    : backend_(backend), data_directory_(std::move(data_directory)) {}

task::Task<absl::StatusOr<std::unique_ptr<LocalCatalog>>> LocalCatalog::Open(
    io::Backend& backend, std::string data_directory, int32_t broker_id) {
  std::unique_ptr<LocalCatalog> catalog(new LocalCatalog(backend, data_directory));
  // What recovery writes needs it more than the next deletion.
  const auto space = backend.Space(data_directory);
  if (space.ok() && space->available_bytes < kReserveBytes) co_await catalog->GiveUpReserve();
  proto::catalog::CatalogFile file;
  auto bytes = co_await io::ReadWholeFile(
      backend, absl::StrCat(data_directory, "/", kCatalogFileName), kCatalogBytesMax);
  if (bytes.ok()) {
    RT_CO_ASSIGN_OR_RETURN(file, DecodeCatalogFile(*bytes));
    if (static_cast<int32_t>(file.broker_id()) != broker_id) {
      co_return absl::FailedPreconditionError(
          absl::StrCat("the data directory ", data_directory, " belongs to broker ",
                       file.broker_id(), ", not to broker ", broker_id,
                       "; start with --broker_id=", file.broker_id(), " or another --data_dir"));
    }
  } else if (absl::IsNotFound(bytes.status())) {
    file = NewCatalogFile(broker_id);
  } else {
    co_return bytes.status();
  }
  if (!base::Uuid::FromBytes(base::AsBytes(file.directory_id()), &catalog->directory_id_)) {
    co_return Damaged("the directory id is not 16 bytes");
  }
  file.set_incarnation(file.incarnation() + 1);
  for (auto& topic : *file.mutable_topics()) {
    for (auto& state : *topic.mutable_partitions()) {
      state.set_leader_epoch(static_cast<int32_t>(file.incarnation()));
      state.set_leader_incarnation(file.incarnation());
    }
  }
  auto image = Image::FromProto(file);
  if (!image.ok()) co_return Damaged(image.status().message());
  catalog->file_ = std::move(file);
  catalog->image_ = *std::move(image);
  co_return catalog;
}

task::Task<absl::Status> LocalCatalog::BeginRun() {
  const ProposalResult result = co_await Apply(file_, {.use_reserve = true});
  co_return result.failure.ok() ? absl::OkStatus() : absl::UnavailableError(result.failure.message);
}

ProposalResult LocalCatalog::Conflict(base::Error error, std::string message) const {
  return {.outcome = ProposalResult::Outcome::kConflict,
          .failure = {error, std::move(message)},
          .version = file_.version()};
}

task::Task<void> LocalCatalog::MakeReserve() {
  const std::string path = absl::StrCat(data_directory_, "/", kReserveFileName);
  const auto space = backend_.Space(data_directory_);
  if (!space.ok() || space->available_bytes < kReserveRoom * kReserveBytes) co_return;
  const auto fd = co_await io::OpenFile(backend_, path, O_RDWR | O_CREAT);
  if (!fd.ok()) co_return;
  has_reserve_ = (co_await io::Allocate(backend_, *fd, 0, kReserveBytes, path)).ok();
  co_await io::CloseFile(backend_, *fd);
}

task::Task<absl::Status> LocalCatalog::WriteFile(std::string bytes, bool use_reserve) {
  const std::string path = absl::StrCat(data_directory_, "/", kCatalogFileName);
  const absl::Status written = co_await io::ReplaceFile(backend_, path, bytes);
  if (written.ok() && !has_reserve_) co_await MakeReserve();
  if (!absl::IsResourceExhausted(written) || !use_reserve) co_return written;
  if (!co_await GiveUpReserve()) co_return written;
  co_return co_await io::ReplaceFile(backend_, path, std::move(bytes));
}

task::Task<bool> LocalCatalog::GiveUpReserve() {
  has_reserve_ = false;
  const absl::Status given_up =
      co_await io::Unlink(backend_, absl::StrCat(data_directory_, "/", kReserveFileName));
  if (!given_up.ok()) co_return false;
  RT_LOG(kWarn, "{}: the disk is full; {} is given up; free space or delete topics",
         data_directory_, kReserveFileName);
  co_return true;
}

task::Task<ProposalResult> LocalCatalog::Apply(proto::catalog::CatalogFile next,
                                               ApplyOptions options) {
  next.set_version(file_.version() + 1);
  auto image = Image::FromProto(next);
  if (!image.ok()) {
    co_return Conflict(base::Error::kInternal, std::string(image.status().message()));
  }
  const absl::Status written = co_await WriteFile(EncodeCatalogFile(next), options.use_reserve);
  if (!written.ok()) {
    if (std::exchange(failing_, std::string(written.message())) != written.message()) {
      RT_LOG(kError, "catalog: {}; the change may or may not be seen after a restart",
             written.message());
    }
    co_return ProposalResult{
        .outcome = ProposalResult::Outcome::kUnknown,
        .failure = {absl::IsResourceExhausted(written) ? base::Error::kDiskFull
                                                       : base::Error::kStorageError,
                    std::string(written.message())},
        .version = file_.version()};
  }
  if (!std::exchange(failing_, {}).empty()) RT_LOG(kInfo, "catalog: changes are written again");
  file_ = std::move(next);
  image_ = *std::move(image);
  if (options.publish && publish_) co_await publish_(image_);
  co_return ProposalResult{.version = file_.version()};
}

task::Task<ProposalResult> LocalCatalog::CreateTopic(CreateTopicProposal proposal) {
  co_await mutex_.Lock();
  const task::AsyncMutex::Held held(mutex_);
  if (const absl::Status name = ValidateTopicName(proposal.name); !name.ok()) {
    co_return Conflict(base::Error::kInvalidTopic, std::string(name.message()));
  }
  if (image_->FindByName(proposal.name) != nullptr) {
    co_return Conflict(base::Error::kTopicExists, absl::StrCat("topic ", proposal.name, " exists"));
  }
  if (IsInternalTopic(proposal.name) && proposal.partitions != kOffsetsTopicPartitions) {
    co_return Conflict(base::Error::kInvalidPartitions,
                       absl::StrCat(proposal.name, " has ", kOffsetsTopicPartitions,
                                    " partitions, got ", proposal.partitions));
  }
  const uint32_t taken = CountPartitions(file_);
  if (const absl::Status partitions =
          CheckPartitions(taken, proposal.partitions, proposal.partitions);
      !partitions.ok()) {
    co_return Conflict(base::Error::kInvalidPartitions, std::string(partitions.message()));
  }
  const auto config = ParseTopicConfig(proposal.configs);
  if (!config.ok()) {
    co_return Conflict(base::Error::kInvalidConfig, std::string(config.status().message()));
  }
  if (proposal.validate_only) co_return ProposalResult{.version = file_.version()};
  proto::catalog::CatalogFile next = file_;
  const base::Uuid id = base::Uuid::Random();
  AddTopic(proposal.name, id, proposal.configs, proposal.partitions, &next);
  ProposalResult result = co_await Apply(std::move(next), {.publish = true});
  result.topic_id = id;
  co_return result;
}

ProposalResult LocalCatalog::AlterOne(const AlterTopicProposal& proposal,
                                      proto::catalog::Topic* topic, uint32_t* taken,
                                      bool* frees_space) const {
  const std::map<std::string, std::string> before(topic->configs().begin(), topic->configs().end());
  auto changed = ChangeTopicConfig(
      proposal.replace_configs ? std::map<std::string, std::string>() : before, proposal.configs);
  const auto config = changed.ok() ? ParseTopicConfig(*changed) : changed.status();
  if (!config.ok()) {
    return Conflict(base::Error::kInvalidConfig, std::string(config.status().message()));
  }
  const auto count = static_cast<uint32_t>(topic->partitions_size());
  if (proposal.partitions != 0) {
    if (IsInternalTopic(topic->name())) return Conflict(base::Error::kInternalTopic, "");
    if (proposal.partitions <= count) {
      return Conflict(base::Error::kInvalidPartitions,
                      absl::StrCat("topic ", topic->name(), " has ", count,
                                   count == 1 ? " partition; " : " partitions; ",
                                   proposal.partitions, " would not be more"));
    }
    const absl::Status partitions =
        CheckPartitions(*taken, proposal.partitions, proposal.partitions - count);
    if (!partitions.ok()) {
      return Conflict(base::Error::kInvalidPartitions, std::string(partitions.message()));
    }
  }
  const bool same = proposal.partitions == 0 && *changed == before;
  if (proposal.validate_only || same) return {.version = file_.version()};
  const auto config_before = ParseTopicConfig(before);
  *frees_space |= config_before.ok() && ShortensRetention(*config_before, *config);
  topic->mutable_configs()->clear();
  topic->mutable_configs()->insert(changed->begin(), changed->end());
  if (proposal.partitions != 0) {
    AddPartitions(file_, *taken, proposal.partitions - count, topic);
    *taken += proposal.partitions - count;
  }
  return {.topic_id = proposal.topic_id};
}

task::Task<std::vector<ProposalResult>> LocalCatalog::AlterTopics(
    std::vector<AlterTopicProposal> proposals) {
  co_await mutex_.Lock();
  const task::AsyncMutex::Held held(mutex_);
  std::vector<ProposalResult> results(proposals.size());
  proto::catalog::CatalogFile next = file_;
  absl::flat_hash_map<std::string, proto::catalog::Topic*> by_id;
  for (auto& topic : *next.mutable_topics()) by_id.emplace(topic.topic_id(), &topic);
  uint32_t taken = CountPartitions(file_);
  bool frees_space = false;
  std::vector<ProposalResult*> to_apply;
  for (size_t i = 0; i < proposals.size(); ++i) {
    const auto found = by_id.find(std::string(base::AsText(proposals[i].topic_id.view())));
    if (found == by_id.end()) {
      results[i] = Conflict(base::Error::kUnknownTopic, "no topic has this id");
      continue;
    }
    results[i] = AlterOne(proposals[i], found->second, &taken, &frees_space);
    if (!results[i].topic_id.IsZero()) to_apply.push_back(&results[i]);
  }
  if (to_apply.empty()) co_return results;
  const ProposalResult written =
      co_await Apply(std::move(next), {.publish = true, .use_reserve = frees_space});
  for (ProposalResult* result : to_apply) *result = written;
  co_return results;
}

task::Task<ProposalResult> LocalCatalog::AlterSettings(AlterSettingsProposal proposal) {
  co_await mutex_.Lock();
  const task::AsyncMutex::Held held(mutex_);
  Settings settings = proposal.replace ? Settings() : image_->settings();
  Settings proposed;
  for (const ConfigChange& change : proposal.settings) {
    if (change.op == ConfigChange::Op::kDelete) {
      settings.erase(change.name);
    } else if (change.op == ConfigChange::Op::kSet) {
      settings[change.name] = proposed[change.name] = change.value;
    } else {
      co_return Conflict(base::Error::kInvalidConfig,
                         absl::StrCat(change.name, " is no list: it can be set or deleted"));
    }
  }
  const absl::Status valid = check_settings_ == nullptr
                                 ? absl::FailedPreconditionError("nothing can be set here")
                                 : check_settings_(proposed);
  if (!valid.ok()) co_return Conflict(base::Error::kInvalidConfig, std::string(valid.message()));
  if (proposal.validate_only || settings == image_->settings()) {
    co_return ProposalResult{.version = file_.version()};
  }
  proto::catalog::CatalogFile next = file_;
  next.mutable_settings()->clear();
  next.mutable_settings()->insert(settings.begin(), settings.end());
  co_return co_await Apply(std::move(next), {.publish = true, .use_reserve = true});
}

task::Task<ProposalResult> LocalCatalog::DeleteTopic(base::Uuid topic_id) {
  co_await mutex_.Lock();
  const task::AsyncMutex::Held held(mutex_);
  proto::catalog::CatalogFile next = file_;
  auto* topics = next.mutable_topics();
  for (auto topic = topics->begin(); topic != topics->end(); ++topic) {
    if (base::AsText(topic_id.view()) != absl::string_view(topic->topic_id())) continue;
    auto* tombstone = next.add_gone();
    tombstone->set_name(topic->name());
    tombstone->set_topic_id(topic->topic_id());
    tombstone->set_partitions(static_cast<uint32_t>(topic->partitions_size()));
    topics->erase(topic);
    co_return co_await Apply(std::move(next), {.publish = true, .use_reserve = true});
  }
  co_return Conflict(base::Error::kUnknownTopic, "no topic has this id");
}

task::Task<ProposalResult> LocalCatalog::ForgetTopic(base::Uuid topic_id) {
  co_await mutex_.Lock();
  const task::AsyncMutex::Held held(mutex_);
  proto::catalog::CatalogFile next = file_;
  auto* gone = next.mutable_gone();
  for (auto tombstone = gone->begin(); tombstone != gone->end(); ++tombstone) {
    if (base::AsText(topic_id.view()) != absl::string_view(tombstone->topic_id())) continue;
    gone->erase(tombstone);
    co_return co_await Apply(std::move(next), {.use_reserve = true});
  }
  co_return Conflict(base::Error::kUnknownTopic, "no deleted topic has this id");
}

task::Task<ProposalResult> LocalCatalog::TakeProducerIds(int64_t count, int64_t* first) {
  co_await mutex_.Lock();
  const task::AsyncMutex::Held held(mutex_);
  proto::catalog::CatalogFile next = file_;
  *first = next.next_producer_id();
  next.set_next_producer_id(*first + count);
  co_return co_await Apply(std::move(next), {});
}

}  // namespace ringtail::server
