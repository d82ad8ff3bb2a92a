#include "tests/compat/clients/librdkafka/group.h"

#include <cstring>
#include <utility>

#include "tests/compat/clients/librdkafka/record.h"

namespace compat {
namespace {

Settings MemberSettings(const Json& request) {
  Settings settings = {{"bootstrap.servers", request["brokers"]},
                       {"group.id", request["group"]},
                       {"enable.auto.commit", "false"},
                       {"auto.offset.reset", "earliest"},
                       {"fetch.wait.max.ms", "50"},
                       {"check.crcs", "true"}};
  if (!request["instance_id"].is_null()) settings["group.instance.id"] = request["instance_id"];
  if (request["protocol"] == "consumer") {
    settings["group.protocol"] = "consumer";
    return settings;
  }
  settings["partition.assignment.strategy"] = request["assignor"];
  settings["session.timeout.ms"] = std::to_string(request["session_timeout_ms"].get<int>());
  settings["heartbeat.interval.ms"] = "300";
  return settings;
}

}  // namespace

Member::Member(const Json& request)
    : topic_(request["topic"]),
      consumer_(NewClient(RD_KAFKA_CONSUMER, MemberSettings(request), &OnRebalance, this)) {
  rd_kafka_poll_set_consumer(consumer_.get());
  PartitionList topics;
  topics.Add(topic_, RD_KAFKA_PARTITION_UA, RD_KAFKA_OFFSET_INVALID);
  CheckNoError(rd_kafka_subscribe(consumer_.get(), topics.get()), "subscribe");
}

Member::~Member() { rd_kafka_consumer_close(consumer_.get()); }

void Member::OnRebalance(rd_kafka_t*, rd_kafka_resp_err_t what,
                         rd_kafka_topic_partition_list_t* partitions, void* self) {
  static_cast<Member*>(self)->Rebalance(what, *partitions);
}

void Member::Rebalance(rd_kafka_resp_err_t what,
                       const rd_kafka_topic_partition_list_t& partitions) {
  rd_kafka_t* client = consumer_.get();
  const bool assigned = what == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
  for (int i = 0; i < partitions.cnt; ++i) {
    const int32_t partition = partitions.elems[i].partition;
    if (assigned) {
      owned_.insert(partition);
    } else {
      owned_.erase(partition);
      revoked_.push_back(partition);
    }
  }
  if (strcmp(rd_kafka_rebalance_protocol(client), "COOPERATIVE") != 0) {
    rd_kafka_assign(client, assigned ? &partitions : nullptr);
    return;
  }
  rd_kafka_error_t* error = assigned ? rd_kafka_incremental_assign(client, &partitions)
                                     : rd_kafka_incremental_unassign(client, &partitions);
  if (error != nullptr) rd_kafka_error_destroy(error);  // the scenario sees that it stands still
}

Json Member::Poll(int ms) {
  Json records = Json::array();
  while (rd_kafka_message_t* message =
             rd_kafka_consumer_poll(consumer_.get(), records.empty() ? ms : 0)) {
    const rd_kafka_resp_err_t error = message->err;
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) records.push_back(RecordOf(message));
    rd_kafka_message_destroy(message);
    if (!IsPassing(error)) throw Error(error, "poll");
  }
  return {{"records", std::move(records)},
          {"owned", owned_},
          {"revoked", std::exchange(revoked_, Json::array())}};
}

Json Member::Commit(const Json& offsets) {
  PartitionList list;
  for (const Json& one : offsets) list.Add(topic_, one[0], one[1]);
  CheckNoError(rd_kafka_commit(consumer_.get(), list.get(), 0), "commit");
  return Json::object();
}

}  // namespace compat
