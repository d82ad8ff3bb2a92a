#include "tests/compat/clients/librdkafka/client.h"

#include <utility>

namespace compat {
namespace {

void OnDelivery(rd_kafka_t*, const rd_kafka_message_t* message, void*) {
  auto* delivery = static_cast<Delivery*>(message->_private);
  delivery->error = message->err;
  delivery->offset = message->offset;
}

// Errors are told by operations; a producer that is not polled would keep them.
void OnError(rd_kafka_t*, int, const char*, void*) {}

struct DestroyQueue {
  void operator()(rd_kafka_queue_t* queue) const { rd_kafka_queue_destroy(queue); }
};

void CheckTopicResult(const rd_kafka_topic_result_t** results, size_t count) {
  if (count != 1) throw std::runtime_error("expected one result");
  const char* text = rd_kafka_topic_result_error_string(results[0]);
  CheckNoError(rd_kafka_topic_result_error(results[0]), text == nullptr ? "" : text);
}

struct DestroyConfig {
  void operator()(rd_kafka_ConfigResource_t* config) const {
    rd_kafka_ConfigResource_destroy(config);
  }
};
using Config = std::unique_ptr<rd_kafka_ConfigResource_t, DestroyConfig>;

Config TopicConfig(const Json& request) {
  return Config(rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC,
                                            request["topic"].get<std::string>().c_str()));
}

void CheckConfigResult(const rd_kafka_ConfigResource_t** results, size_t count) {
  if (count != 1) throw std::runtime_error("expected one result");
  const char* text = rd_kafka_ConfigResource_error_string(results[0]);
  CheckNoError(rd_kafka_ConfigResource_error(results[0]), text == nullptr ? "" : text);
}

struct DestroyMetadata {
  void operator()(const rd_kafka_metadata_t* metadata) const {
    rd_kafka_metadata_destroy(metadata);
  }
};
using Metadata = std::unique_ptr<const rd_kafka_metadata_t, DestroyMetadata>;

Metadata AllTopics(rd_kafka_t* client) {
  const rd_kafka_metadata_t* metadata = nullptr;
  CheckNoError(rd_kafka_metadata(client, 1, nullptr, &metadata, kDeadlineMs), "metadata");
  return Metadata(metadata);
}

}  // namespace

Event AdminCall(rd_kafka_t* client, const std::function<void(rd_kafka_queue_t*)>& call) {
  const std::unique_ptr<rd_kafka_queue_t, DestroyQueue> queue(rd_kafka_queue_new(client));
  call(queue.get());
  Event event(rd_kafka_queue_poll(queue.get(), kDeadlineMs));
  if (event == nullptr) throw std::runtime_error("no answer to an admin call in time");
  CheckNoError(rd_kafka_event_error(event.get()), "admin call");
  return event;
}

Client NewClient(rd_kafka_type_t type, const Settings& settings, RebalanceCallback* rebalance,
                 void* opaque) {
  char error[512];
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  for (const auto& [name, value] : settings) {
    if (rd_kafka_conf_set(conf, name.c_str(), value.c_str(), error, sizeof(error)) !=
        RD_KAFKA_CONF_OK) {
      throw std::runtime_error(error);
    }
  }
  if (type == RD_KAFKA_PRODUCER) rd_kafka_conf_set_dr_msg_cb(conf, &OnDelivery);
  rd_kafka_conf_set_error_cb(conf, &OnError);
  if (rebalance != nullptr) rd_kafka_conf_set_rebalance_cb(conf, rebalance);
  rd_kafka_conf_set_opaque(conf, opaque);
  rd_kafka_t* client = rd_kafka_new(type, conf, error, sizeof(error));
  if (client == nullptr) throw std::runtime_error(error);
  return Client(client);
}

Json Offsets(rd_kafka_t* client, const Json& request) {
  const auto topic = request["topic"].get<std::string>();
  const auto partition = request["partition"].get<int32_t>();
  if (request["at"].is_string()) {
    int64_t low = -1, high = -1;
    CheckNoError(rd_kafka_query_watermark_offsets(client, topic.c_str(), partition, &low, &high,
                                                  kDeadlineMs),
                 "watermarks");
    return {{"offset", request["at"] == "earliest" ? low : high}};
  }
  PartitionList list;
  list.Add(topic, partition, request["at"].get<int64_t>());
  CheckNoError(rd_kafka_offsets_for_times(client, list.get(), kDeadlineMs), "by time");
  CheckNoError(list.get()->elems[0].err, "by time, partition");
  return {{"offset", list.get()->elems[0].offset}};
}

Json ListTopics(rd_kafka_t* client) {
  const Metadata metadata = AllTopics(client);
  Json names = Json::array();
  for (int i = 0; i < metadata->topic_cnt; ++i) names.push_back(metadata->topics[i].topic);
  return {{"topics", names}};
}

Json Partitions(rd_kafka_t* client, const Json& request) {
  const Metadata metadata = AllTopics(client);
  for (int i = 0; i < metadata->topic_cnt; ++i) {
    const rd_kafka_metadata_topic& topic = metadata->topics[i];
    if (topic.topic == request["topic"].get<std::string>()) {
      return {{"partitions", topic.partition_cnt}};
    }
  }
  throw std::runtime_error("the topic is not in the metadata");
}

Json CreateTopic(rd_kafka_t* client, const Json& request) {
  char error[512];
  rd_kafka_NewTopic_t* wanted =
      rd_kafka_NewTopic_new(request["topic"].get<std::string>().c_str(),
                            request["partitions"].get<int>(), 1, error, sizeof(error));
  if (wanted == nullptr) throw std::runtime_error(error);
  for (const auto& [name, value] : request["configs"].items()) {
    rd_kafka_NewTopic_set_config(wanted, name.c_str(), value.get<std::string>().c_str());
  }
  const Event event = AdminCall(client, [&](rd_kafka_queue_t* queue) {
    rd_kafka_CreateTopics(client, &wanted, 1, nullptr, queue);
  });
  rd_kafka_NewTopic_destroy(wanted);
  size_t count = 0;
  const auto* result = rd_kafka_event_CreateTopics_result(event.get());
  CheckTopicResult(rd_kafka_CreateTopics_result_topics(result, &count), count);
  return Json::object();
}

Json DeleteTopic(rd_kafka_t* client, const Json& request) {
  rd_kafka_DeleteTopic_t* wanted =
      rd_kafka_DeleteTopic_new(request["topic"].get<std::string>().c_str());
  const Event event = AdminCall(client, [&](rd_kafka_queue_t* queue) {
    rd_kafka_DeleteTopics(client, &wanted, 1, nullptr, queue);
  });
  rd_kafka_DeleteTopic_destroy(wanted);
  size_t count = 0;
  const auto* result = rd_kafka_event_DeleteTopics_result(event.get());
  CheckTopicResult(rd_kafka_DeleteTopics_result_topics(result, &count), count);
  return Json::object();
}

Json AddPartitions(rd_kafka_t* client, const Json& request) {
  char error[512];
  rd_kafka_NewPartitions_t* wanted =
      rd_kafka_NewPartitions_new(request["topic"].get<std::string>().c_str(),
                                 request["total"].get<size_t>(), error, sizeof(error));
  if (wanted == nullptr) throw std::runtime_error(error);
  const Event event = AdminCall(client, [&](rd_kafka_queue_t* queue) {
    rd_kafka_CreatePartitions(client, &wanted, 1, nullptr, queue);
  });
  rd_kafka_NewPartitions_destroy(wanted);
  size_t count = 0;
  const auto* result = rd_kafka_event_CreatePartitions_result(event.get());
  CheckTopicResult(rd_kafka_CreatePartitions_result_topics(result, &count), count);
  return Json::object();
}

Json DeleteRecords(rd_kafka_t* client, const Json& request) {
  PartitionList before;
  before.Add(request["topic"], request["partition"], request["before"]);
  rd_kafka_DeleteRecords_t* wanted = rd_kafka_DeleteRecords_new(before.get());
  const Event event = AdminCall(client, [&](rd_kafka_queue_t* queue) {
    rd_kafka_DeleteRecords(client, &wanted, 1, nullptr, queue);
  });
  rd_kafka_DeleteRecords_destroy(wanted);
  const auto* offsets =
      rd_kafka_DeleteRecords_result_offsets(rd_kafka_event_DeleteRecords_result(event.get()));
  CheckNoError(offsets->elems[0].err, "delete records");
  return {{"low", offsets->elems[0].offset}};
}

Json DescribeConfig(rd_kafka_t* client, const Json& request) {
  const Config config = TopicConfig(request);
  rd_kafka_ConfigResource_t* wanted = config.get();
  const Event event = AdminCall(client, [&](rd_kafka_queue_t* queue) {
    rd_kafka_DescribeConfigs(client, &wanted, 1, nullptr, queue);
  });
  size_t count = 0;
  const auto** results = rd_kafka_DescribeConfigs_result_resources(
      rd_kafka_event_DescribeConfigs_result(event.get()), &count);
  CheckConfigResult(results, count);
  size_t entries = 0;
  const auto** configs = rd_kafka_ConfigResource_configs(results[0], &entries);
  Json found = Json::object();
  for (size_t i = 0; i < entries; ++i) {
    const char* value = rd_kafka_ConfigEntry_value(configs[i]);
    found[rd_kafka_ConfigEntry_name(configs[i])] = value == nullptr ? Json() : Json(value);
  }
  return {{"configs", found}};
}

Json AlterConfig(rd_kafka_t* client, const Json& request) {
  const Config config = TopicConfig(request);
  for (const auto& [name, value] : request["configs"].items()) {
    rd_kafka_ConfigResource_set_config(config.get(), name.c_str(),
                                       value.get<std::string>().c_str());
  }
  rd_kafka_ConfigResource_t* wanted = config.get();
  const Event event = AdminCall(client, [&](rd_kafka_queue_t* queue) {
    rd_kafka_AlterConfigs(client, &wanted, 1, nullptr, queue);
  });
  size_t count = 0;
  const auto** results = rd_kafka_AlterConfigs_result_resources(
      rd_kafka_event_AlterConfigs_result(event.get()), &count);
  CheckConfigResult(results, count);
  return Json::object();
}

}  // namespace compat
