// The catalog of a single broker: one file, `catalog`, in the data directory, replaced atomically
// with every change. Prefix of 16 bytes, little-endian: magic "RTCAT001" (8), CRC32C of the
// protobuf bytes (u32), their length (u32); then proto/catalog.proto's CatalogFile.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/io/backend.h"
#include "engine/task/sync.h"
#include "server/cluster/catalog.h"

namespace ringtail::server {

inline constexpr char kCatalogFileName[] = "catalog";
// Space that a disk which others have filled still has for a start, for deletions and for a shorter
// retention, when nothing is left of what segments leave free (log::DiskReserve): a file that
// nobody else can take. Given up by a start on a full disk and when the catalog could not be
// written without it, made again by the first change of the catalog that finds several times as
// much space.
inline constexpr char kReserveFileName[] = ".reserve";
inline constexpr int64_t kReserveBytes = 4 << 20;

// The file's bytes and back. DataLoss says what is wrong and what to do.
std::string EncodeCatalogFile(const proto::catalog::CatalogFile& file);
absl::StatusOr<proto::catalog::CatalogFile> DecodeCatalogFile(absl::string_view bytes);

// Without topics, as the first start makes it.
proto::catalog::CatalogFile NewCatalogFile(int32_t broker_id);
// On the next slots, led by the file's broker.
void AddTopic(const std::string& name, const base::Uuid& id,
              const std::map<std::string, std::string>& configs, uint32_t partitions,
              proto::catalog::CatalogFile* file);

class LocalCatalog : public Catalog {
 public:
  // Given each new image before a proposal is answered; ends when every core has taken it over.
  using Publish = std::function<task::Task<void>(ImagePtr)>;

  // Reads the file; in an empty directory it starts with a new one. Nothing is written yet, so that
  // a start that is refused changes nothing.
  static task::Task<absl::StatusOr<std::unique_ptr<LocalCatalog>>> Open(io::Backend& backend,
                                                                        std::string data_directory,
                                                                        int32_t broker_id);

  // Writes what Open made of it, with the raised incarnation: once per start, before it is used.
  task::Task<absl::Status> BeginRun();

  void set_publish(Publish publish) { publish_ = std::move(publish); }
  // Says what is wrong with settings that are proposed; of those that are there, which a newer
  // program may have set, it is not asked. Without it none can be set.
  using CheckSettings = std::function<absl::Status(const Settings&)>;
  void set_check_settings(CheckSettings check) { check_settings_ = std::move(check); }
  const base::Uuid& directory_id() const { return directory_id_; }
  const proto::catalog::CatalogFile& file() const { return file_; }

  ImagePtr image() const override { return image_; }
  task::Task<ProposalResult> CreateTopic(CreateTopicProposal proposal) override;
  task::Task<std::vector<ProposalResult>> AlterTopics(
      std::vector<AlterTopicProposal> proposals) override;
  task::Task<ProposalResult> AlterSettings(AlterSettingsProposal proposal) override;
  task::Task<ProposalResult> DeleteTopic(base::Uuid topic_id) override;
  task::Task<ProposalResult> ForgetTopic(base::Uuid topic_id) override;
  task::Task<ProposalResult> TakeProducerIds(int64_t count, int64_t* first) override;

 private:
  struct ApplyOptions {
    bool publish = false;
    bool use_reserve = false;
  };

  LocalCatalog(io::Backend& backend, std::string data_directory);

  ProposalResult Conflict(base::Error error, std::string message) const;
  // Makes `topic` what the proposal says; with the topic's id where that is not what it was.
  // `taken`: the broker's partitions, counted on; `frees_space` becomes true where it does.
  ProposalResult AlterOne(const AlterTopicProposal& proposal, proto::catalog::Topic* topic,
                          uint32_t* taken, bool* frees_space) const;
  // Writes `next` with a higher version, makes it current and publishes it. Call with mutex_ held.
  task::Task<ProposalResult> Apply(proto::catalog::CatalogFile next, ApplyOptions options);
  // `use_reserve`: gives the reserve up rather than fail on a full disk.
  task::Task<absl::Status> WriteFile(std::string bytes, bool use_reserve);
  task::Task<void> MakeReserve();
  task::Task<bool> GiveUpReserve();

  io::Backend& backend_;
  std::string data_directory_;
  base::Uuid directory_id_;
  proto::catalog::CatalogFile file_;
  ImagePtr image_;
  Publish publish_;
  CheckSettings check_settings_;
  task::AsyncMutex mutex_;
  bool has_reserve_ = false;
  std::string failing_;  // why the last change could not be written, which is said once
};

}  // namespace ringtail::server
