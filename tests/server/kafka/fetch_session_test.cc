// Fetch sessions: the cache by itself, then over a connection.
#include "server/kafka/fetch_session.h"

#include <algorithm>
#include <random>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/server/kafka/session_fixture.h"

namespace ringtail::kafka {
namespace {

using log::MakeBatch;

constexpr base::Nanos kSecond = base::kNanosPerSecond;

std::vector<int32_t> OrderOf(const FetchSession& session) {
  std::vector<int32_t> order;
  session.ForEach([&](uint32_t, uint32_t, int32_t partition, const FetchSession::Wanted&) {
    order.push_back(partition);
  });
  return order;
}

TEST(FetchSession, OnlyWhatChangedIsNews) {
  FetchSession session(1, /*by_id=*/false, 0);
  const uint32_t slot = session.Want({.name = "a"}, 3, {.fetch_offset = 7});
  EXPECT_TRUE(session.Tell(slot, false, {.high_watermark = 7, .log_start = 0}, false));
  EXPECT_FALSE(session.Tell(slot, false, {.high_watermark = 7, .log_start = 0}, false));
  EXPECT_TRUE(session.Tell(slot, false, {.high_watermark = 8, .log_start = 0}, false));
  EXPECT_TRUE(session.Tell(slot, false, {.high_watermark = 8, .log_start = 2}, false));
  EXPECT_TRUE(session.Tell(slot, false, {.high_watermark = 8, .log_start = 2}, true));
  EXPECT_TRUE(session.Tell(slot, true, {}, false));
  EXPECT_TRUE(session.Tell(slot, true, {}, false)) << "an error is told each time";
  EXPECT_TRUE(session.Tell(slot, false, {.high_watermark = 8, .log_start = 2}, false))
      << "and so is its end";
  EXPECT_FALSE(session.Tell(slot, false, {.high_watermark = 8, .log_start = 2}, false));
}

TEST(FetchSession, WhoWasGivenRecordsGoesBehindTheOthers) {
  FetchSession session(1, false, 0);
  std::vector<uint32_t> slots;
  for (int32_t p = 0; p < 4; ++p) slots.push_back(session.Want({.name = "a"}, p, {}));
  session.Tell(slots[0], false, {1, 0}, true);
  session.Tell(slots[2], false, {1, 0}, true);
  session.Tell(slots[3], false, {1, 0}, false);
  EXPECT_EQ(OrderOf(session), (std::vector<int32_t>{1, 3, 0, 2}));
  session.Want({.name = "a"}, 1, {.fetch_offset = 5});
  EXPECT_EQ(OrderOf(session), (std::vector<int32_t>{1, 3, 0, 2})) << "a new offset moves nothing";
  session.Forget({.name = "a"}, 3);
  session.Forget({.name = "a"}, 1);
  session.Forget({.name = "a"}, 9);
  session.Forget({.name = "b"}, 0);
  EXPECT_EQ(OrderOf(session), (std::vector<int32_t>{0, 2}));
  session.Want({.name = "b"}, 7, {});
  EXPECT_EQ(OrderOf(session), (std::vector<int32_t>{0, 2, 7}));
}

TEST(FetchSession, TheEpochStartsAgainAtOne) {
  EXPECT_EQ(FetchSession::EpochAfter(1), 2);
  EXPECT_EQ(FetchSession::EpochAfter(INT32_MAX), 1);
}

// Against maps; the order against a list.
TEST(FetchSession, RandomOperationsMatchAModel) {
  std::mt19937 random(7);
  for (const bool by_id : {false, true}) {
    std::vector<base::Uuid> ids(6);
    for (base::Uuid& id : ids) id = base::Uuid::Random();
    FetchSession session(1, by_id, 0);
    struct Entry {
      uint32_t topic;
      int32_t partition;
      int64_t offset;
    };
    std::vector<Entry> model;  // in order
    const auto key = [&](uint32_t topic) -> FetchSession::TopicKey {
      static const std::vector<std::string> names = {"a", "b", "c", "d", "e", "f"};
      return by_id ? FetchSession::TopicKey{.id = ids[topic]}
                   : FetchSession::TopicKey{.name = names[topic]};
    };
    size_t bytes_max = 0;
    for (int step = 0; step < 5'000; ++step) {
      const uint32_t topic = random() % 6;
      const int32_t partition = static_cast<int32_t>(random() % 8);
      const auto known = std::find_if(model.begin(), model.end(), [&](const Entry& entry) {
        return entry.topic == topic && entry.partition == partition;
      });
      if (random() % 2 == 0) {
        session.Forget(key(topic), partition);
        if (known != model.end()) model.erase(known);
      } else {
        const uint32_t slot = session.Want(key(topic), partition, {.fetch_offset = step});
        Entry entry{topic, partition, step};
        const bool records = random() % 2 == 0;
        session.Tell(slot, false, {step, 0}, records);
        if (known == model.end()) {
          model.push_back(entry);
        } else if (records) {
          model.erase(known);
          model.push_back(entry);
        } else {
          *known = entry;
        }
      }
      ASSERT_EQ(session.size(), model.size());
      size_t at = 0;
      session.ForEach([&](uint32_t, uint32_t index, int32_t each, const FetchSession::Wanted& w) {
        ASSERT_EQ(each, model[at].partition);
        ASSERT_EQ(w.fetch_offset, model[at].offset);
        ASSERT_EQ(session.TopicOf(index).name, key(model[at].topic).name);
        ASSERT_EQ(session.TopicOf(index).id, key(model[at].topic).id);
        ++at;
      });
      if (step == 1'000) bytes_max = session.memory_bytes();
    }
    EXPECT_LE(session.memory_bytes(), bytes_max + 1'000) << "what is forgotten is used again";
  }
}

FetchSession* Filled(FetchSessionCache& cache, int32_t partitions, base::Nanos now) {
  FetchSession* session = cache.Create(false, static_cast<size_t>(partitions),
                                       FetchSession::BytesFor(1, 1, partitions), now);
  if (session == nullptr) return nullptr;
  for (int32_t p = 0; p < partitions; ++p) session->Want({.name = "t"}, p, {});
  cache.Settle(*session);
  return session;
}

TEST(FetchSessionCache, AFullOneGivesWayByAgeThenBySize) {
  FetchSessionCache cache({.sessions_max = 3});
  const int32_t small = Filled(cache, 2, 0)->id();
  const int32_t large = Filled(cache, 9, 0)->id();
  const int32_t middle = Filled(cache, 5, 0)->id();
  EXPECT_EQ(Filled(cache, 100, 100 * kSecond), nullptr) << "all are too young to give way";
  // Old enough now, and all in use.
  for (const int32_t id : {small, large, middle}) cache.Touch(*cache.Find(id), 119 * kSecond);
  EXPECT_EQ(Filled(cache, 2, 130 * kSecond), nullptr) << "not larger than the smallest";
  const int32_t third = Filled(cache, 3, 130 * kSecond)->id();
  EXPECT_EQ(cache.Find(small), nullptr);
  EXPECT_NE(cache.Find(large), nullptr);
  // The one that nobody used for long goes, however large it is.
  cache.Touch(*cache.Find(middle), 200 * kSecond);
  cache.Touch(*cache.Find(third), 200 * kSecond);
  EXPECT_NE(Filled(cache, 1, 240 * kSecond), nullptr);
  EXPECT_EQ(cache.Find(large), nullptr);
  EXPECT_EQ(cache.size(), 3u);
  EXPECT_EQ(cache.partition_count(), 5u + 3u + 1u);
  EXPECT_EQ(cache.counters().evicted, 2u);
  EXPECT_EQ(cache.counters().refused, 2u);
}

TEST(FetchSessionCache, MemoryIsBoundedAndGivenBack) {
  const size_t bytes_max = 1 << 20;
  FetchSessionCache cache({.bytes_max = bytes_max});
  std::vector<int32_t> ids;
  while (FetchSession* session = Filled(cache, 500, 0)) {
    ids.push_back(session->id());
    ASSERT_LE(cache.memory_bytes(), bytes_max);
  }
  EXPECT_GT(ids.size(), 4u);
  EXPECT_EQ(cache.Create(false, 1 << 20, 2 * bytes_max, 500 * kSecond), nullptr);
  EXPECT_EQ(cache.size(), ids.size()) << "nobody gives way for what can never fit";
  // One that outgrows the bound takes that of the unused, and is gone when there is no more.
  FetchSession* grows = cache.Find(ids.back());
  cache.Touch(*grows, 200 * kSecond);
  int32_t next = 500;
  bool grown = true;
  while (grown) {
    grown = cache.Grow(*grows, 1, 1, 100, 200 * kSecond);
    for (int i = 0; grown && i < 100; ++i) grows->Want({.name = "t"}, next++, {});
    if (grown) cache.Settle(*grows);
    ASSERT_LE(cache.memory_bytes(), bytes_max);
  }
  EXPECT_EQ(cache.size(), 0u);
  EXPECT_EQ(cache.memory_bytes(), 0u);
  EXPECT_GT(next, 4'000);
}

TEST(FetchSessionCache, WhatIsChargedBeforehandIsEnough) {
  for (const int32_t partitions : {1, 7, 8, 15, 16, 100, 1'000, 1'793, 20'000}) {
    for (const bool topics : {false, true}) {
      FetchSession session(1, !topics, 0);
      size_t name_bytes = 0;
      for (int32_t p = 0; p < partitions; ++p) {
        const std::string name = topics ? absl::StrCat("topic-", p) : "";
        name_bytes += name.size();
        session.Want({.name = name, .id = base::Uuid::Random()}, p, {});
      }
      const auto count = static_cast<size_t>(partitions);
      EXPECT_LE(session.memory_bytes(), FetchSession::BytesFor(count, name_bytes, count))
          << partitions;
    }
  }
}

// --- Over a connection.

class KafkaFetchSessionTest : public KafkaSessionTest {
 protected:
  using Reply = std::unique_ptr<Decoded<FetchResponse>>;

  FetchRequest Changes(int32_t id, int32_t epoch, FetchRequest request = {}) {
    request.max_bytes = 10 << 20;
    request.min_bytes = 1;
    request.session_id = id;
    request.session_epoch = epoch;
    return request;
  }
  // Begins a session for what the request names.
  Reply Begin(FetchRequest request, int16_t version) {
    request.session_epoch = FetchSession::kInitialEpoch;
    Reply reply = Ask<FetchResponse>(request, version);
    EXPECT_EQ(reply->body.error_code, 0);
    EXPECT_GT(reply->body.session_id, 0);
    return reply;
  }
  ErrorCode ErrorOfFetch(const FetchRequest& request, int16_t version = 12) {
    const Reply reply = Ask<FetchResponse>(request, version);
    EXPECT_TRUE(reply->body.error_code == 0 || reply->body.responses.empty());
    return static_cast<ErrorCode>(reply->body.error_code);
  }
  void Append(int32_t partition, int32_t records = 1, size_t value_bytes = 16) {
    const std::string batch = MakeBatch({.records = records, .value_bytes = value_bytes});
    EXPECT_EQ(server::ProduceOne(*server_, 0, server_->IdOf("t", partition), batch).error,
              base::Error::kNone);
  }
  // "p<partition>@<high watermark>+<bytes>"
  static std::string Shown(const FetchResponse& response) {
    std::string text;
    for (const auto& topic : response.responses) {
      for (const auto& partition : topic.partitions) {
        absl::StrAppend(&text, text.empty() ? "" : " ", "p", partition.partition_index, "@",
                        partition.high_watermark);
        if (partition.error_code != 0) absl::StrAppend(&text, "!", partition.error_code);
        if (partition.records.has_value() && partition.records->size() > 0) text += "+";
      }
    }
    return text;
  }
  const FetchSessionCache& cache(uint32_t core = 0) { return server_->kafka(core).fetch_sessions; }
};

TEST_F(KafkaFetchSessionTest, TellsWhatChangedInEveryVersion) {
  for (int16_t version = 7; version <= 16; ++version) {
    Start({.cores = 2});
    std::vector<std::pair<int32_t, int64_t>> ends;
    for (int32_t p = 0; p < 3; ++p) {
      ends.emplace_back(p, server::FetchOne(*server_, 0, server_->IdOf("t", p), 0).high_watermark);
    }
    const Reply begun = Begin(Fetch(arena_, IdOf("t"), ends), version);
    EXPECT_EQ(begun->body.responses[0].partitions.size(), 3u);
    const int32_t id = begun->body.session_id;
    int32_t epoch = 0;
    const auto next = [&](FetchRequest request = {}) {
      Reply reply = Ask<FetchResponse>(Changes(id, ++epoch, request), version);
      EXPECT_EQ(reply->body.error_code, 0) << version;
      return Shown(reply->body);
    };
    const int64_t end = ends[1].second;
    EXPECT_EQ(next(), "") << version;
    Append(1);
    EXPECT_EQ(next(), absl::StrCat("p1@", end + 1, "+"));
    // The same records again, until the client says that it has moved on.
    EXPECT_EQ(next(), absl::StrCat("p1@", end + 1, "+"));
    EXPECT_EQ(next(Fetch(arena_, IdOf("t"), {{1, end + 1}})), "");
    Append(1);
    Append(0);
    FetchRequest forget;
    auto& forgotten = forget.forgotten_topics_data.Add(arena_);
    forgotten.topic = "t";
    forgotten.topic_id = IdOf("t");
    forgotten.partitions.Add(arena_) = 1;
    EXPECT_EQ(next(forget).substr(0, 3), "p0@");
    EXPECT_EQ(next(Fetch(arena_, IdOf("t"), {{0, 1000}})).substr(0, 3), "p0@");
    FetchRequest moved = Fetch(arena_, IdOf("t"), {{1, end + 1}});
    forgotten.partitions[0] = 0;
    moved.forgotten_topics_data = forget.forgotten_topics_data;
    EXPECT_EQ(next(moved), absl::StrCat("p1@", end + 2, "+"));
  }
}

TEST_F(KafkaFetchSessionTest, ErrorsAreToldUntilTheyAreGone) {
  FetchRequest request = Fetch(arena_, IdOf("t"), {{0, 0}, {7, 0}});
  auto& later = request.topics.Add(arena_);
  later.topic = "later";
  later.partitions.Add(arena_).partition_max_bytes = 1'000;
  later.partitions[0].current_leader_epoch = -1;
  const Reply begun = Begin(request, 12);
  EXPECT_EQ(Shown(begun->body), "p0@0 p7@-1!3 p0@-1!3");
  const int32_t id = begun->body.session_id;
  EXPECT_EQ(Shown(Ask<FetchResponse>(Changes(id, 1), 12)->body), "p7@-1!3 p0@-1!3");
  // A topic asked for by name is found as soon as there is one.
  ASSERT_EQ(server_->CreateTopic("later").failure.error, base::Error::kNone);
  const Reply reply = Ask<FetchResponse>(Changes(id, 2), 12);
  EXPECT_EQ(Shown(reply->body), "p7@-1!3 p0@0");
  EXPECT_EQ(reply->body.responses[1].topic, "later");
  EXPECT_EQ(Shown(Ask<FetchResponse>(Changes(id, 3), 12)->body), "p7@-1!3");
  server_->DeleteTopic("t");
  EXPECT_EQ(Shown(Ask<FetchResponse>(Changes(id, 4), 12)->body), "p0@-1!3 p7@-1!3");
}

TEST_F(KafkaFetchSessionTest, ByIdADeletedTopicStaysUnknown) {
  const base::Uuid id = IdOf("t");
  const int32_t session = Begin(Fetch(arena_, id, {{0, 0}}), 16)->body.session_id;
  server_->DeleteTopic("t");
  server_->CreateTopic("t", 3);
  const Reply reply = Ask<FetchResponse>(Changes(session, 1), 16);
  ASSERT_EQ(reply->body.responses.size(), 1u);
  EXPECT_EQ(reply->body.responses[0].topic_id, id);
  EXPECT_EQ(reply->body.responses[0].partitions[0].error_code, Wire(ErrorCode::kUnknownTopicId));
}

TEST_F(KafkaFetchSessionTest, WrongIdsAndEpochs) {
  const FetchRequest all = Fetch(arena_, IdOf("t"), {{0, 0}});
  const int32_t id = Begin(all, 12)->body.session_id;
  EXPECT_EQ(ErrorOfFetch(Changes(id, 2)), ErrorCode::kInvalidFetchSessionEpoch);
  EXPECT_EQ(ErrorOfFetch(Changes(id, -7)), ErrorCode::kInvalidFetchSessionEpoch);
  EXPECT_EQ(ErrorOfFetch(Changes(id, 1), 13), ErrorCode::kFetchSessionTopicIdError);
  EXPECT_EQ(ErrorOfFetch(Changes(id ^ 1, 1)), ErrorCode::kFetchSessionIdNotFound);
  EXPECT_EQ(ErrorOfFetch(Changes(0, 1)), ErrorCode::kFetchSessionIdNotFound);
  EXPECT_EQ(ErrorOfFetch(Changes(id, 1)), ErrorCode::kNone) << "none of these changed it";
  EXPECT_EQ(ErrorOfFetch(Changes(id, 1)), ErrorCode::kInvalidFetchSessionEpoch);
  // A whole request with the old id begins a new one; with the final epoch it only ends it.
  FetchRequest again = all;
  again.session_id = id;
  const int32_t second = Begin(again, 12)->body.session_id;
  EXPECT_NE(second, id);
  EXPECT_EQ(ErrorOfFetch(Changes(id, 2)), ErrorCode::kFetchSessionIdNotFound);
  again.session_id = second;
  again.session_epoch = FetchSession::kFinalEpoch;
  const Reply last = Ask<FetchResponse>(again, 12);
  EXPECT_EQ(last->body.session_id, 0);
  EXPECT_EQ(last->body.responses.size(), 1u);
  EXPECT_EQ(cache().size(), 0u);
  EXPECT_EQ(cache().memory_bytes(), 0u);
  // Another core knows nothing of them.
  const int32_t third = Begin(all, 12)->body.session_id;
  peer_ = std::make_unique<KafkaDialogue>(world_);
  ASSERT_TRUE(peer_->Open(server_->endpoints().cores[1].kafka));
  EXPECT_EQ(ErrorOfFetch(Changes(third, 1)), ErrorCode::kFetchSessionIdNotFound);
  // On the same core another connection goes on with it, as after a reconnect.
  peer_ = Connected();
  EXPECT_EQ(ErrorOfFetch(Changes(third, 1)), ErrorCode::kNone);
}

TEST_F(KafkaFetchSessionTest, WhoForgetsAllEndsIt) {
  const int32_t id = Begin(Fetch(arena_, IdOf("t"), {{0, 0}}), 12)->body.session_id;
  FetchRequest forget;
  auto& forgotten = forget.forgotten_topics_data.Add(arena_);
  forgotten.topic = "t";
  forgotten.partitions.Add(arena_) = 0;
  const Reply reply = Ask<FetchResponse>(Changes(id, 1, forget), 12);
  EXPECT_EQ(reply->body.error_code, 0);
  EXPECT_EQ(reply->body.session_id, 0);
  EXPECT_EQ(cache().size(), 0u);
}

TEST_F(KafkaFetchSessionTest, NoSlotMeansNoSession) {
  server::SimServerOptions options{.cores = 1};
  options.fetch_sessions.sessions_max = 1;
  Start(options);
  const FetchRequest all = Fetch(arena_, IdOf("t"), {{0, 0}});
  FetchRequest begin = all;
  begin.session_epoch = 0;
  EXPECT_GT(Ask<FetchResponse>(begin, 12)->body.session_id, 0);
  const Reply refused = Ask<FetchResponse>(begin, 12);
  EXPECT_EQ(refused->body.session_id, 0);
  EXPECT_EQ(refused->body.responses.size(), 1u) << "it is served all the same";
}

TEST_F(KafkaFetchSessionTest, WaitsForDataOfAllThatItRemembers) {
  const int32_t id = Begin(Fetch(arena_, IdOf("t"), {{0, 0}, {1, 0}, {2, 0}}), 12)->body.session_id;
  FetchRequest waits = Changes(id, 1);
  waits.max_wait_ms = 30'000;
  ASSERT_TRUE(peer_->client().Send(KafkaFrame(waits, 12, 77)));
  world_.RunFor(kSecond);
  Append(2);
  const auto reply = peer_->Next<FetchResponse>(12);
  ASSERT_NE(reply, nullptr);
  EXPECT_EQ(Shown(reply->body), "p2@1+");
}

// A request that is overtaken by another one of its session must not answer as if nothing happened:
// the client could take its records for those of the newer request.
TEST_F(KafkaFetchSessionTest, OvertakenWhileItWaits) {
  const int32_t id = Begin(Fetch(arena_, IdOf("t"), {{0, 0}}), 12)->body.session_id;
  FetchRequest waits = Changes(id, 1);
  waits.max_wait_ms = 3'000;
  ASSERT_TRUE(peer_->client().Send(KafkaFrame(waits, 12, 1)));
  world_.RunFor(kSecond);
  const auto other = Connected();
  const auto second = other->Ask<FetchResponse>(Changes(id, 2), 12, 2);
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(second->body.error_code, 0);
  const auto first = peer_->Next<FetchResponse>(12);
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(first->body.error_code, Wire(ErrorCode::kInvalidFetchSessionEpoch));
  ASSERT_TRUE(peer_->client().Send(KafkaFrame(Changes(id, 3, waits = {}), 12, 3)));
  const auto third = peer_->Next<FetchResponse>(12);
  ASSERT_NE(third, nullptr);
  EXPECT_EQ(third->body.error_code, 0);
}

// With room for one batch a request, all partitions come to their turn.
TEST_F(KafkaFetchSessionTest, NoPartitionStarves) {
  for (int32_t p = 0; p < 3; ++p) Append(p, 1, 1'000);
  FetchRequest all = Fetch(arena_, IdOf("t"), {{0, 0}, {1, 0}, {2, 0}});
  all.max_bytes = 1;
  const Reply begun = Begin(all, 12);
  std::vector<int32_t> served;
  const auto note = [&](const FetchResponse& response) {
    for (const auto& partition : response.responses[0].partitions) {
      if (partition.records->size() > 0) served.push_back(partition.partition_index);
    }
  };
  note(begun->body);
  for (int32_t epoch = 1; epoch < 6; ++epoch) {
    // It never moves on, so each partition always has something to give.
    FetchRequest next = Changes(begun->body.session_id, epoch);
    next.max_bytes = 1;
    note(Ask<FetchResponse>(next, 12)->body);
  }
  ASSERT_EQ(served.size(), 6u);
  for (int32_t p = 0; p < 3; ++p) {
    EXPECT_GT(std::count(served.begin(), served.end(), p), 0) << "partition " << p;
  }
}

TEST_F(KafkaFetchSessionTest, LeaderEpochsOfASession) {
  FetchRequest all = Fetch(arena_, IdOf("t"), {{0, 0}});
  const int32_t epoch = server_->broker(0).image()->FindByName("t")->partitions[0].leader_epoch;
  all.topics[0].partitions[0].current_leader_epoch = epoch;
  const Reply begun = Begin(all, 12);
  EXPECT_EQ(Shown(begun->body), "p0@0");
  for (const auto& [asked, error] : {std::pair{epoch - 1, ErrorCode::kFencedLeaderEpoch},
                                     std::pair{epoch + 1, ErrorCode::kUnknownLeaderEpoch}}) {
    if (asked < 0) continue;
    FetchRequest changed = Fetch(arena_, IdOf("t"), {{0, 0}});
    changed.topics[0].partitions[0].current_leader_epoch = asked;
    const Reply reply = Begin(changed, 12);
    EXPECT_EQ(reply->body.responses[0].partitions[0].error_code, Wire(error));
  }
}

TEST_F(KafkaFetchSessionTest, FollowersAreRefused) {
  FetchRequest all = Fetch(arena_, IdOf("t"), {{0, 0}});
  all.session_epoch = 0;
  for (const int16_t version : {12, 16}) {
    all.replica_id = version < 15 ? 1 : -1;
    all.replica_state.replica_id = version < 15 ? -1 : 1;
    const Reply reply = Ask<FetchResponse>(all, version);
    EXPECT_EQ(reply->body.session_id, 0);
    EXPECT_EQ(reply->body.responses[0].partitions[0].error_code, Wire(ErrorCode::kInvalidRequest));
  }
}

}  // namespace
}  // namespace ringtail::kafka
