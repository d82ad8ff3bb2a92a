// A catalog whose answers come when, in what order and as what the test says. It changes nothing:
// it stands for a catalog far away, of which a broker learns only what it is told.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/task/sync.h"
#include "server/cluster/catalog.h"

namespace ringtail::server {

class ScriptedCatalog : public Catalog {
 public:
  // A proposal that waits for its answer.
  struct Pending {
    std::string
        what;  // "create NAME", "alter COUNT", "settings", "delete", "forget", "producer ids"
    task::Event answered;
    ProposalResult result;
  };

  explicit ScriptedCatalog(ImagePtr image) : image_(std::move(image)) {}

  // In the order in which they came; answered ones are gone.
  const std::deque<std::shared_ptr<Pending>>& pending() const { return pending_; }
  // On the core that the catalog lives on.
  void Answer(size_t index, ProposalResult result) {
    const std::shared_ptr<Pending> pending = pending_[index];
    pending_.erase(pending_.begin() + static_cast<ptrdiff_t>(index));
    pending->result = std::move(result);
    pending->answered.Set();
  }
  void set_image(ImagePtr image) { image_ = std::move(image); }
  int64_t next_producer_id = 1;

  ImagePtr image() const override { return image_; }
  task::Task<ProposalResult> CreateTopic(CreateTopicProposal proposal) override {
    return Ask("create " + proposal.name);
  }
  // One answer for all of them.
  task::Task<std::vector<ProposalResult>> AlterTopics(
      std::vector<AlterTopicProposal> proposals) override {
    const ProposalResult result = co_await Ask(absl::StrCat("alter ", proposals.size()));
    co_return std::vector<ProposalResult>(proposals.size(), result);
  }
  task::Task<ProposalResult> AlterSettings(AlterSettingsProposal) override {
    return Ask("settings");
  }
  task::Task<ProposalResult> DeleteTopic(base::Uuid) override { return Ask("delete"); }
  task::Task<ProposalResult> ForgetTopic(base::Uuid) override { return Ask("forget"); }
  task::Task<ProposalResult> TakeProducerIds(int64_t count, int64_t* first) override {
    ProposalResult result = co_await Ask("producer ids");
    if (result.outcome == ProposalResult::Outcome::kApplied) {
      *first = std::exchange(next_producer_id, next_producer_id + count);
    }
    co_return result;
  }

 private:
  task::Task<ProposalResult> Ask(std::string what) {
    auto pending = std::make_shared<Pending>();
    pending->what = std::move(what);
    pending_.push_back(pending);
    co_await pending->answered.Wait();
    co_return pending->result;
  }

  ImagePtr image_;
  std::deque<std::shared_ptr<Pending>> pending_;
};

}  // namespace ringtail::server
