#include "tests/server/sim_server.h"

#include "server/cluster/deletions.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/result.h"
#include "engine/io/file.h"
#include "engine/log/data_directory.h"
#include "server/kafka/session.h"

namespace ringtail::server {
namespace {

constexpr char kDataDirectory[] = "/data";

}  // namespace

SimServer::SimServer(sim::SimWorld& world, const SimServerOptions& options)
    : options_(options), file_system_sync_(world.disk()) {
  if (!world.disk().Content("/data/.made").has_value()) world.disk().Put("/data/.made", "");
  sim::SimBrokerOptions sim_options;
  sim_options.cores = options.cores;
  sim_options.backend = options.backend;
  sim_ = std::make_unique<sim::SimBroker>(world, "broker", sim_options);
  brokers_.data_directory = kDataDirectory;
  brokers_.durability = options.durability;
  brokers_.brokers.resize(options.cores);
  endpoints_.host = "127.0.0.1";
  endpoints_.advertise_cores = options.advertise_cores;
  endpoints_.cores.resize(options.cores);
  native_ = {.software_version = "test",
             .exchanges_max = static_cast<uint32_t>(options.server.connection.exchanges_max),
             .connection_bytes_max = options.server.connection.bytes_max};
  for (uint32_t core = 0; core < options.cores; ++core) {
    kafka_.push_back(std::make_unique<kafka::CoreState>(options.fetch_sessions));
    kafka::CoreState* kafka_state = kafka_.back().get();
    servers_.push_back(std::make_unique<CoreServer>(
        sim_->core(core), brokers_, options_.server,
        [this, kafka_state](ListenerKind kind, Broker& broker) -> std::unique_ptr<Session> {
          if (kind == ListenerKind::kKafka) {
            return std::make_unique<kafka::Session>(broker, endpoints_, *kafka_state);
          }
          return std::make_unique<native::Session>(broker, endpoints_, native_);
        }));
    brokers_.brokers[core] = &servers_.back()->broker();
    brokers_.brokers[core]->SetOptions(std::make_shared<const BrokerOptions>(options.broker));
  }
}

SimServer::~SimServer() {
  if (sim_ != nullptr) Kill();
}

void SimServer::End() {
  for (uint32_t core = 0; core < options_.cores; ++core) {
    // A real core would have blocked, with everybody on it.
    RT_CHECK(sim_->io(core).cold_touches() == 0);
  }
  // The cores' tasks refer to the servers, and the servers' members to the cores' buffers.
  if (sim_->alive()) sim_->Kill();
  for (uint32_t core = 0; core < options_.cores; ++core) sim_->core(core).DropTasks();
  servers_.clear();
  catalog_.reset();
  sim_.reset();
}

void SimServer::Kill() { End(); }

task::Task<void> SimServer::Publish(ImagePtr image) {
  const ImagePtr& before = broker(0).image();
  if (options_.live != nullptr && (before == nullptr || before->settings() != image->settings())) {
    const std::shared_ptr<const LiveOptions> next = options_.live->Under(image->settings());
    for (uint32_t index = 0; index < options_.cores; ++index) {
      CoreServer* server = servers_[index].get();
      co_await core::CallOn(base::CoreId(index), [server, &next]() -> task::Task<void> {
        server->SetOptions(*next);
        co_return;
      });
    }
  }
  co_await ApplyImageOnAll(brokers_, std::move(image));
}

task::Task<absl::Status> SimServer::OpenCatalog() {
  io::Backend& io = core::Core::Current().io();
  auto catalog = co_await LocalCatalog::Open(io, kDataDirectory, 0);
  if (!catalog.ok()) co_return catalog.status();
  catalog_ = *std::move(catalog);
  catalog_->set_publish([this](ImagePtr image) { return Publish(std::move(image)); });
  if (options_.live != nullptr) {
    catalog_->set_check_settings([this](const Settings& set) { return options_.live->Check(set); });
  }
  brokers_.catalog = catalog_.get();
  auto clean = co_await log::TakeCleanShutdown(io, kDataDirectory);
  if (!clean.ok()) co_return clean.status();
  brokers_.opened_clean = *clean;
  co_return absl::OkStatus();
}

task::Task<absl::Status> SimServer::ListenAll() {
  for (uint32_t index = 0; index < options_.cores; ++index) {
    CoreServer* server = servers_[index].get();
    CorePorts* ports = &endpoints_.cores[index];
    CorePorts* shared = &endpoints_.shared;
    const absl::Status bound = co_await core::CallOn(
        base::CoreId(index), [server, ports, shared]() -> task::Task<absl::Status> {
          const std::string host = "127.0.0.1";
          RT_CO_RETURN_IF_ERROR(server->Listen(host, true, ListenerKind::kKafka, &shared->kafka));
          RT_CO_RETURN_IF_ERROR(server->Listen(host, true, ListenerKind::kNative, &shared->native));
          RT_CO_RETURN_IF_ERROR(server->Listen(host, false, ListenerKind::kKafka, &ports->kafka));
          co_return server->Listen(host, false, ListenerKind::kNative, &ports->native);
        });
    if (!bound.ok()) co_return bound;
  }
  for (uint32_t index = 0; index < options_.cores; ++index) {
    CoreServer* server = servers_[index].get();
    co_await core::CallOn(base::CoreId(index), [server]() -> task::Task<void> {
      server->StartAccepting();
      co_return;
    });
  }
  co_return absl::OkStatus();
}

task::Task<absl::Status> SimServer::Boot() {
  RT_CO_RETURN_IF_ERROR(co_await OpenCatalog());
  RT_CO_RETURN_IF_ERROR(co_await OpenJournals(
      brokers_, options_.journal, options_.syncs_at_once ? &file_system_sync_ : nullptr, nullptr));
  RT_CO_RETURN_IF_ERROR(co_await catalog_->BeginRun());
  co_await FinishDeletions(core::Core::Current().io(), kDataDirectory, *catalog_);
  co_await Publish(catalog_->image());
  RT_CO_RETURN_IF_ERROR(co_await JournalsAreInUse(brokers_));
  brokers_.recovered.reset();
  if (!options_.listen) co_return absl::OkStatus();
  co_return co_await ListenAll();
}

absl::Status SimServer::Start() {
  return sim_->Get<absl::Status>(0, [this] { return Boot(); })
      .value_or(absl::UnavailableError("the start did not end"));
}

task::Task<bool> SimServer::Close(base::Nanos grace_ns) {
  const base::Nanos deadline = core::Core::Current().now() + grace_ns;
  for (const auto& server : servers_) {
    CoreServer* each = server.get();
    co_await core::CallOn(each->core().id(),
                          [each, deadline] { return each->StopServing(deadline); });
  }
  bool clean = co_await CloseAllOnAll(brokers_);
  if (!clean) co_return false;
  if (!(co_await CloseJournals(brokers_)).ok()) co_return false;
  co_return (co_await log::MarkCleanShutdown(core::Core::Current().io(), kDataDirectory)).ok();
}

bool SimServer::Stop(base::Nanos grace_ns) {
  const bool clean =
      sim_->Get<bool>(0, [this, grace_ns] { return Close(grace_ns); }).value_or(false);
  End();
  return clean;
}

ProposalResult SimServer::CreateTopic(const std::string& name, uint32_t partitions,
                                      std::map<std::string, std::string> configs) {
  auto result = sim_->Get<ProposalResult>(0, [=, this] {
    return broker(0).CreateTopic({.name = name, .partitions = partitions, .configs = configs});
  });
  RT_CHECK(result.has_value());
  return *result;
}

std::optional<std::vector<ProposalResult>> SimServer::AlterTopics(
    std::vector<AlterTopicProposal> proposals) {
  return sim_->Get<std::vector<ProposalResult>>(
      0, [this, proposals] { return broker(0).AlterTopics(proposals); });
}

ProposalResult SimServer::DeleteTopic(const std::string& name) {
  const base::Uuid id = IdOf(name).topic_id;
  auto result = sim_->Get<ProposalResult>(0, [this, id] { return broker(0).DeleteTopic(id); });
  RT_CHECK(result.has_value());
  return *result;
}

ProposalResult SimServer::AlterSettings(AlterSettingsProposal proposal, uint32_t core) {
  auto result = sim_->Get<ProposalResult>(
      core, [this, core, proposal] { return broker(core).AlterSettings(proposal); });
  RT_CHECK(result.has_value());
  return *result;
}

partition::PartitionId SimServer::IdOf(const std::string& topic, int32_t partition) {
  const TopicImage* found = broker(0).image()->FindByName(topic);
  RT_CHECK(found != nullptr);
  return {found->id, partition};
}

uint32_t SimServer::CoreOf(const partition::PartitionId& id) {
  const TopicImage* topic = broker(0).image()->FindById(id.topic_id);
  return broker(0).CoreOf(topic->partitions[static_cast<size_t>(id.partition)]).value();
}

}  // namespace ringtail::server
