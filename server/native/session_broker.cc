// The native requests about the broker itself.
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/native/config_changes.h"
#include "server/native/error_map.h"
#include "server/native/session.h"
#include "server/native/session_scratch.h"

namespace ringtail::native {

void Session::HandleDescribeBroker(Scratch* scratch) {
  auto* described = scratch->response->mutable_describe_broker();
  described->set_process_id(static_cast<uint32_t>(getpid()));
  for (const server::BrokerConfig& config : broker_.configs()) {
    if (config.knob.empty()) continue;  // Kafka's names for what is fixed here
    auto* out = described->add_configs();
    out->set_name(config.knob);
    out->set_value(config.value);
    out->set_default_value(config.default_value);
    if (config.start_value.has_value()) out->set_start_value(*config.start_value);
    out->set_source(config.is_set ? "set" : config.start_value.has_value() ? "start" : "default");
    out->set_live(config.live);
    out->set_help(config.help);
  }
}

task::Task<void> Session::HandleAlterBroker(Scratch* scratch) {
  const auto& request = scratch->request->alter_broker();
  auto* response = scratch->response;
  server::AlterSettingsProposal proposal{.validate_only = request.validate_only()};
  const std::string twice = TakeChanges(request, &proposal.settings);
  if (!twice.empty()) {
    FillError(base::Error::kInvalidRequest,
              absl::StrCat("config ", twice, " is named more than once"),
              response->mutable_error());
    co_return;
  }
  const server::ProposalResult result = co_await broker_.AlterSettings(std::move(proposal));
  if (!result.failure.ok()) {
    FillError(result.failure.error, result.failure.message, response->mutable_error());
    co_return;
  }
  response->mutable_alter_broker();
}

}  // namespace ringtail::native
