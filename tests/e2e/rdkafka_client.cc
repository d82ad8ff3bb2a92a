// What an application built on librdkafka sees of the broker. Each command plays one scenario and
// checks it; it prints what was wrong and ends with 1.
//
//   rdkafka_client roundtrip BROKERS TOPIC CODEC ACKS   records of every shape, there and back
//   rdkafka_client one BROKERS TOPIC VALUE_BYTES        prints the librdkafka error of one record
//   rdkafka_client assign BROKERS TOPIC COUNT           a consumer with a group's name that assigns
//   rdkafka_client idempotent BROKERS TOPIC COUNT       offsets without gap or repetition
//   rdkafka_client times BROKERS TOPIC                  offsets by time
//   rdkafka_client admin BROKERS TOPIC                  create and delete, and their errors
//   rdkafka_client alter BROKERS TOPIC                  configs and partitions of a living topic
//   rdkafka_client load BROKERS TOPIC PARTITIONS        until killed; prints each acknowledged
//   record
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace {

constexpr int kDeadlineMs = 30'000;

using Settings = std::vector<std::pair<std::string, std::string>>;

[[noreturn]] void Fail(const std::string& what) {
  fprintf(stderr, "rdkafka_client: %s\n", what.c_str());
  exit(1);
}

void Check(bool condition, const std::string& what) {
  if (!condition) Fail("expected " + what);
}

void CheckNoError(rd_kafka_resp_err_t error, const std::string& what) {
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) Fail(what + ": " + rd_kafka_err2name(error));
}

struct Record {
  std::optional<std::string> key;
  std::optional<std::string> value;
  std::vector<std::pair<std::string, std::optional<std::string>>> headers;
  bool operator==(const Record&) const = default;
};

struct Delivered {
  size_t count = 0;
  std::vector<int64_t> offsets;  // in the order of the reports
  rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;
  bool print = false;
};

void OnDelivery(rd_kafka_t*, const rd_kafka_message_t* message, void* opaque) {
  auto* delivered = static_cast<Delivered*>(opaque);
  ++delivered->count;
  if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
    delivered->error = message->err;
    return;
  }
  delivered->offsets.push_back(message->offset);
  if (delivered->print) {
    printf("%d %.*s\n", message->partition, static_cast<int>(message->len),
           static_cast<const char*>(message->payload));
    fflush(stdout);
  }
}

struct DestroyClient {
  void operator()(rd_kafka_t* client) const { rd_kafka_destroy(client); }
};
using Client = std::unique_ptr<rd_kafka_t, DestroyClient>;

Client NewClient(rd_kafka_type_t type, const std::string& brokers, const Settings& settings,
                 Delivered* delivered) {
  char error[512];
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  const auto set = [&](const std::string& name, const std::string& value) {
    if (rd_kafka_conf_set(conf, name.c_str(), value.c_str(), error, sizeof(error)) !=
        RD_KAFKA_CONF_OK) {
      Fail(error);
    }
  };
  set("bootstrap.servers", brokers);
  for (const auto& [name, value] : settings) set(name, value);
  if (type == RD_KAFKA_PRODUCER) {
    rd_kafka_conf_set_dr_msg_cb(conf, &OnDelivery);
    rd_kafka_conf_set_opaque(conf, delivered);
  }
  rd_kafka_t* client = rd_kafka_new(type, conf, error, sizeof(error));
  if (client == nullptr) Fail(error);
  return Client(client);
}

rd_kafka_resp_err_t Send(rd_kafka_t* producer, const std::string& topic, int32_t partition,
                         const Record& record, int64_t timestamp_ms) {
  rd_kafka_headers_t* headers = rd_kafka_headers_new(record.headers.size() + 1);
  for (const auto& [name, value] : record.headers) {
    rd_kafka_header_add(headers, name.data(), static_cast<ssize_t>(name.size()),
                        value ? value->data() : nullptr,
                        value ? static_cast<ssize_t>(value->size()) : 0);
  }
  const auto bytes = [](const std::optional<std::string>& text) {
    // librdkafka takes a null pointer for null, and any other with length 0 for empty.
    return text ? const_cast<char*>(text->data()) : nullptr;
  };
  const rd_kafka_resp_err_t error = rd_kafka_producev(
      producer, RD_KAFKA_V_TOPIC(topic.c_str()), RD_KAFKA_V_PARTITION(partition),
      RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
      RD_KAFKA_V_KEY(bytes(record.key), (record.key ? record.key->size() : 0)),
      RD_KAFKA_V_VALUE(bytes(record.value), (record.value ? record.value->size() : 0)),
      RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_TIMESTAMP(timestamp_ms), RD_KAFKA_V_END);
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) rd_kafka_headers_destroy(headers);
  return error;
}

std::string Bytes(size_t count, unsigned seed) {
  std::string bytes(count, '\0');
  unsigned long long state = seed * 0x9E3779B97F4A7C15ull + 1;
  for (char& byte : bytes) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    byte = static_cast<char>(state >> 56);
  }
  return bytes;
}

std::vector<Record> RecordsOfEveryShape() {
  std::vector<Record> records = {
      {std::nullopt, std::nullopt, {}},
      {"", "", {}},
      {std::nullopt, "", {}},
      {"", std::nullopt, {}},
      {"key", "value", {{"name", "value"}}},
      {"key", "value", {{"a", ""}, {"a", "again"}, {"none", std::nullopt}, {"", "no name"}}},
      {Bytes(300, 1), Bytes(100'000, 2), {{"bytes", Bytes(1000, 3)}}},
      {std::nullopt, std::string(200'000, 'x'), {}},
  };
  for (unsigned i = 0; i < 300; ++i) {
    records.push_back({std::to_string(i), Bytes(i * 7, i) + std::string(i * 5, 'z'), {}});
  }
  return records;
}

Record ToRecord(const rd_kafka_message_t* message) {
  Record record;
  if (message->key != nullptr) {
    record.key.emplace(static_cast<const char*>(message->key), message->key_len);
  }
  if (message->payload != nullptr) {
    record.value.emplace(static_cast<const char*>(message->payload), message->len);
  }
  rd_kafka_headers_t* headers = nullptr;
  if (rd_kafka_message_headers(message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) return record;
  const char* name;
  const void* value;
  size_t bytes;
  for (size_t i = 0;
       rd_kafka_header_get_all(headers, i, &name, &value, &bytes) == RD_KAFKA_RESP_ERR_NO_ERROR;
       ++i) {
    std::optional<std::string> copy;
    if (value != nullptr) copy.emplace(static_cast<const char*>(value), bytes);
    record.headers.emplace_back(name, std::move(copy));
  }
  return record;
}

using See = std::function<void(size_t, const rd_kafka_message_t*)>;

// Reads `count` records of partition 0 from the beginning.
void ReadRecords(const std::string& brokers, const std::string& topic, size_t count,
                 const See& see) {
  const Client consumer = NewClient(RD_KAFKA_CONSUMER, brokers,
                                    {{"check.crcs", "true"}, {"fetch.wait.max.ms", "20"}}, nullptr);
  rd_kafka_topic_t* handle = rd_kafka_topic_new(consumer.get(), topic.c_str(), nullptr);
  Check(rd_kafka_consume_start(handle, 0, RD_KAFKA_OFFSET_BEGINNING) == 0, "consuming to start");
  for (size_t i = 0; i < count; ++i) {
    rd_kafka_message_t* message = rd_kafka_consume(handle, 0, kDeadlineMs);
    if (message == nullptr) Fail("no record " + std::to_string(i) + " in time");
    CheckNoError(message->err, "consume record " + std::to_string(i));
    Check(message->offset == static_cast<int64_t>(i), "offset " + std::to_string(i));
    see(i, message);
    rd_kafka_message_destroy(message);
  }
  rd_kafka_consume_stop(handle, 0);
  rd_kafka_topic_destroy(handle);
}

// A consumer that could subscribe, too, but assigns its partition itself.
int Assign(const std::string& brokers, const std::string& topic, size_t count) {
  const Client consumer = NewClient(
      RD_KAFKA_CONSUMER, brokers, {{"group.id", "e2e"}, {"enable.auto.commit", "false"}}, nullptr);
  rd_kafka_poll_set_consumer(consumer.get());
  rd_kafka_topic_partition_list_t* list = rd_kafka_topic_partition_list_new(1);
  rd_kafka_topic_partition_list_add(list, topic.c_str(), 0)->offset = RD_KAFKA_OFFSET_BEGINNING;
  CheckNoError(rd_kafka_assign(consumer.get(), list), "assign");
  rd_kafka_topic_partition_list_destroy(list);
  for (size_t found = 0; found < count;) {
    rd_kafka_message_t* message = rd_kafka_consumer_poll(consumer.get(), kDeadlineMs);
    if (message == nullptr) Fail("no record " + std::to_string(found) + " in time");
    // Without groups on the broker the client is told so, and reads what it assigned all the same.
    if (message->err != RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED) {
      CheckNoError(message->err, "consume");
      ++found;
    }
    rd_kafka_message_destroy(message);
  }
  return 0;
}

int RoundTrip(const std::string& brokers, const std::string& topic, const std::string& codec,
              const std::string& acks) {
  Delivered delivered;
  const Client producer =
      NewClient(RD_KAFKA_PRODUCER, brokers,
                {{"compression.codec", codec}, {"request.required.acks", acks}, {"linger.ms", "5"}},
                &delivered);
  const std::vector<Record> records = RecordsOfEveryShape();
  for (const Record& record : records) {
    CheckNoError(Send(producer.get(), topic, 0, record, 0), "produce");
  }
  CheckNoError(rd_kafka_flush(producer.get(), kDeadlineMs), "flush");
  CheckNoError(delivered.error, "delivery");
  Check(delivered.count == records.size(), "a report for each record");
  ReadRecords(brokers, topic, records.size(), [&](size_t i, const rd_kafka_message_t* message) {
    Check(ToRecord(message) == records[i], "record " + std::to_string(i) + " as it was sent");
  });
  return 0;
}

int One(const std::string& brokers, const std::string& topic, size_t value_bytes) {
  Delivered delivered;
  const Client producer = NewClient(
      RD_KAFKA_PRODUCER, brokers,
      {{"message.max.bytes", "50000000"}, {"message.timeout.ms", std::to_string(kDeadlineMs)}},
      &delivered);
  const Record record = {std::nullopt, Bytes(value_bytes, 5), {}};
  CheckNoError(Send(producer.get(), topic, 0, record, 0), "produce");
  CheckNoError(rd_kafka_flush(producer.get(), kDeadlineMs), "flush");
  if (delivered.error == RD_KAFKA_RESP_ERR_NO_ERROR) {
    ReadRecords(brokers, topic, 1, [&](size_t, const rd_kafka_message_t* message) {
      Check(ToRecord(message) == record, "the record as it was sent");
    });
  }
  printf("%s\n", rd_kafka_err2name(delivered.error));
  return 0;
}

int Idempotent(const std::string& brokers, const std::string& topic, size_t count) {
  Delivered delivered;
  const Client producer =
      NewClient(RD_KAFKA_PRODUCER, brokers,
                {{"enable.idempotence", "true"}, {"batch.num.messages", "50"}}, &delivered);
  for (size_t i = 0; i < count; ++i) {
    while (Send(producer.get(), topic, 0, {std::nullopt, std::to_string(i), {}}, 0) ==
           RD_KAFKA_RESP_ERR__QUEUE_FULL) {
      rd_kafka_poll(producer.get(), 100);
    }
  }
  CheckNoError(rd_kafka_flush(producer.get(), kDeadlineMs), "flush");
  CheckNoError(delivered.error, "delivery");
  Check(delivered.offsets.size() == count, "a report for each record");
  for (size_t i = 0; i < count; ++i) {
    Check(delivered.offsets[i] == static_cast<int64_t>(i), "offset " + std::to_string(i));
  }
  ReadRecords(brokers, topic, count, [&](size_t i, const rd_kafka_message_t* message) {
    Check(*ToRecord(message).value == std::to_string(i), "value " + std::to_string(i));
  });
  return 0;
}

int Times(const std::string& brokers, const std::string& topic) {
  constexpr int64_t kFirstMs = 1'600'000'000'000;
  constexpr int64_t kStepMs = 1000;
  constexpr int64_t kCount = 500;
  Delivered delivered;
  const Client producer =
      NewClient(RD_KAFKA_PRODUCER, brokers, {{"batch.num.messages", "7"}}, &delivered);
  for (int64_t i = 0; i < kCount; ++i) {
    CheckNoError(Send(producer.get(), topic, 0, {std::nullopt, std::string(500, 't'), {}},
                      kFirstMs + i * kStepMs),
                 "produce");
  }
  CheckNoError(rd_kafka_flush(producer.get(), kDeadlineMs), "flush");
  CheckNoError(delivered.error, "delivery");
  const std::vector<std::pair<int64_t, int64_t>> expected = {
      {1, 0},
      {kFirstMs, 0},
      {kFirstMs + 1, 1},
      {kFirstMs + 123 * kStepMs, 123},
      {kFirstMs + 123 * kStepMs - 1, 123},
      {kFirstMs + (kCount - 1) * kStepMs, kCount - 1},
      {kFirstMs + kCount * kStepMs, RD_KAFKA_OFFSET_END}};
  for (const auto& [time_ms, offset] : expected) {
    rd_kafka_topic_partition_list_t* list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic.c_str(), 0)->offset = time_ms;
    CheckNoError(rd_kafka_offsets_for_times(producer.get(), list, kDeadlineMs), "by time");
    CheckNoError(list->elems[0].err, "by time, partition");
    if (list->elems[0].offset != offset) {
      Fail("time " + std::to_string(time_ms) + ": expected offset " + std::to_string(offset) +
           ", came " + std::to_string(list->elems[0].offset));
    }
    rd_kafka_topic_partition_list_destroy(list);
  }
  int64_t low = -1, high = -1;
  CheckNoError(
      rd_kafka_query_watermark_offsets(producer.get(), topic.c_str(), 0, &low, &high, kDeadlineMs),
      "watermarks");
  Check(low == 0 && high == kCount, "watermarks 0 and 500");
  return 0;
}

// The one result of an admin call.
rd_kafka_resp_err_t AdminResult(rd_kafka_queue_t* queue, bool create) {
  rd_kafka_event_t* event = rd_kafka_queue_poll(queue, kDeadlineMs);
  if (event == nullptr) Fail("no answer to an admin call in time");
  CheckNoError(rd_kafka_event_error(event), "admin call");
  size_t count = 0;
  const rd_kafka_topic_result_t** results =
      create
          ? rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count)
          : rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &count);
  Check(count == 1, "one result");
  const rd_kafka_resp_err_t error = rd_kafka_topic_result_error(results[0]);
  const char* message = rd_kafka_topic_result_error_string(results[0]);
  printf("%s: %s\n", rd_kafka_err2name(error), message == nullptr ? "" : message);
  rd_kafka_event_destroy(event);
  return error;
}

rd_kafka_resp_err_t CreateTopic(rd_kafka_t* client, const std::string& topic, int partitions,
                                const Settings& configs) {
  rd_kafka_queue_t* queue = rd_kafka_queue_new(client);
  char error[512];
  rd_kafka_NewTopic_t* wanted =
      rd_kafka_NewTopic_new(topic.c_str(), partitions, 1, error, sizeof(error));
  if (wanted == nullptr) Fail(error);
  for (const auto& [name, value] : configs) {
    CheckNoError(rd_kafka_NewTopic_set_config(wanted, name.c_str(), value.c_str()), "config");
  }
  rd_kafka_CreateTopics(client, &wanted, 1, nullptr, queue);
  const rd_kafka_resp_err_t result = AdminResult(queue, true);
  rd_kafka_NewTopic_destroy(wanted);
  rd_kafka_queue_destroy(queue);
  return result;
}

rd_kafka_resp_err_t DeleteTopic(rd_kafka_t* client, const std::string& topic) {
  rd_kafka_queue_t* queue = rd_kafka_queue_new(client);
  rd_kafka_DeleteTopic_t* wanted = rd_kafka_DeleteTopic_new(topic.c_str());
  rd_kafka_DeleteTopics(client, &wanted, 1, nullptr, queue);
  const rd_kafka_resp_err_t result = AdminResult(queue, false);
  rd_kafka_DeleteTopic_destroy(wanted);
  rd_kafka_queue_destroy(queue);
  return result;
}

int Admin(const std::string& brokers, const std::string& topic) {
  const Client client = NewClient(RD_KAFKA_PRODUCER, brokers, {}, nullptr);
  const Settings configs = {{"segment.bytes", "1048576"}, {"max.message.bytes", "2000000"}};
  CheckNoError(CreateTopic(client.get(), topic, 3, configs), "create");
  Check(CreateTopic(client.get(), topic, 3, {}) == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS,
        "a second creation to be refused");
  Check(CreateTopic(client.get(), topic + "-a", 1, {{"no.such.config", "1"}}) ==
            RD_KAFKA_RESP_ERR_INVALID_CONFIG,
        "an unknown config to be refused");
  Check(CreateTopic(client.get(), "bad name/", 1, {}) == RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION,
        "a bad name to be refused");
  const rd_kafka_metadata_t* metadata = nullptr;
  rd_kafka_topic_t* handle = rd_kafka_topic_new(client.get(), topic.c_str(), nullptr);
  CheckNoError(rd_kafka_metadata(client.get(), 0, handle, &metadata, kDeadlineMs), "metadata");
  Check(metadata->topic_cnt == 1 && metadata->topics[0].partition_cnt == 3, "three partitions");
  rd_kafka_metadata_destroy(metadata);
  rd_kafka_topic_destroy(handle);
  CheckNoError(DeleteTopic(client.get(), topic), "delete");
  Check(DeleteTopic(client.get(), topic) == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
        "a second deletion to be refused");
  return 0;
}

struct DestroyResource {
  void operator()(rd_kafka_ConfigResource_t* resource) const {
    rd_kafka_ConfigResource_destroy(resource);
  }
};
using Resource = std::unique_ptr<rd_kafka_ConfigResource_t, DestroyResource>;

Resource NewResource(rd_kafka_ResourceType_t type, const std::string& name,
                     const Settings& configs) {
  Resource resource(rd_kafka_ConfigResource_new(type, name.c_str()));
  for (const auto& [key, value] : configs) {
    CheckNoError(rd_kafka_ConfigResource_set_config(resource.get(), key.c_str(), value.c_str()),
                 key);
  }
  return resource;
}

// Waits for the answer of one admin call about one resource and looks at it.
rd_kafka_resp_err_t ResourceResult(
    rd_kafka_queue_t* queue, bool alter,
    const std::function<void(const rd_kafka_ConfigResource_t*)>& look) {
  rd_kafka_event_t* event = rd_kafka_queue_poll(queue, kDeadlineMs);
  if (event == nullptr) Fail("no answer to an admin call in time");
  CheckNoError(rd_kafka_event_error(event), "admin call");
  size_t count = 0;
  const rd_kafka_ConfigResource_t** results =
      alter ? rd_kafka_AlterConfigs_result_resources(rd_kafka_event_AlterConfigs_result(event),
                                                     &count)
            : rd_kafka_DescribeConfigs_result_resources(
                  rd_kafka_event_DescribeConfigs_result(event), &count);
  Check(count == 1, "one resource");
  const rd_kafka_resp_err_t error = rd_kafka_ConfigResource_error(results[0]);
  const char* message = rd_kafka_ConfigResource_error_string(results[0]);
  printf("%s: %s\n", rd_kafka_err2name(error), message == nullptr ? "" : message);
  if (error == RD_KAFKA_RESP_ERR_NO_ERROR && look) look(results[0]);
  rd_kafka_event_destroy(event);
  return error;
}

rd_kafka_resp_err_t AlterConfigs(rd_kafka_t* client, rd_kafka_ResourceType_t type,
                                 const std::string& name, const Settings& configs) {
  rd_kafka_queue_t* queue = rd_kafka_queue_new(client);
  const Resource resource = NewResource(type, name, configs);
  rd_kafka_ConfigResource_t* wanted = resource.get();
  rd_kafka_AlterConfigs(client, &wanted, 1, nullptr, queue);
  const rd_kafka_resp_err_t result = ResourceResult(queue, true, nullptr);
  rd_kafka_queue_destroy(queue);
  return result;
}

struct ConfigValue {
  std::string value;
  rd_kafka_ConfigSource_t source;
  bool read_only = false;
  std::vector<std::string> synonyms;
};

std::map<std::string, ConfigValue> DescribeConfigs(rd_kafka_t* client, rd_kafka_ResourceType_t type,
                                                   const std::string& name) {
  std::map<std::string, ConfigValue> found;
  rd_kafka_queue_t* queue = rd_kafka_queue_new(client);
  const Resource resource = NewResource(type, name, {});
  rd_kafka_ConfigResource_t* wanted = resource.get();
  rd_kafka_DescribeConfigs(client, &wanted, 1, nullptr, queue);
  const auto look = [&](const rd_kafka_ConfigResource_t* result) {
    size_t count = 0;
    const rd_kafka_ConfigEntry_t** entries = rd_kafka_ConfigResource_configs(result, &count);
    for (size_t i = 0; i < count; ++i) {
      const char* value = rd_kafka_ConfigEntry_value(entries[i]);
      ConfigValue& config = found[rd_kafka_ConfigEntry_name(entries[i])];
      config.value = value == nullptr ? "null" : value;
      config.source = rd_kafka_ConfigEntry_source(entries[i]);
      config.read_only = rd_kafka_ConfigEntry_is_read_only(entries[i]) == 1;
      size_t synonyms = 0;
      const rd_kafka_ConfigEntry_t** each = rd_kafka_ConfigEntry_synonyms(entries[i], &synonyms);
      for (size_t j = 0; j < synonyms; ++j) {
        config.synonyms.push_back(rd_kafka_ConfigEntry_name(each[j]));
      }
    }
  };
  CheckNoError(ResourceResult(queue, false, look), "describe configs of " + name);
  rd_kafka_queue_destroy(queue);
  return found;
}

rd_kafka_resp_err_t GrowTopic(rd_kafka_t* client, const std::string& topic, size_t partitions) {
  rd_kafka_queue_t* queue = rd_kafka_queue_new(client);
  char error[512];
  rd_kafka_NewPartitions_t* wanted =
      rd_kafka_NewPartitions_new(topic.c_str(), partitions, error, sizeof(error));
  if (wanted == nullptr) Fail(error);
  rd_kafka_CreatePartitions(client, &wanted, 1, nullptr, queue);
  rd_kafka_event_t* event = rd_kafka_queue_poll(queue, kDeadlineMs);
  if (event == nullptr) Fail("no answer to an admin call in time");
  CheckNoError(rd_kafka_event_error(event), "admin call");
  size_t count = 0;
  const rd_kafka_topic_result_t** results = rd_kafka_CreatePartitions_result_topics(
      rd_kafka_event_CreatePartitions_result(event), &count);
  Check(count == 1, "one result");
  const rd_kafka_resp_err_t result = rd_kafka_topic_result_error(results[0]);
  const char* message = rd_kafka_topic_result_error_string(results[0]);
  printf("%s: %s\n", rd_kafka_err2name(result), message == nullptr ? "" : message);
  rd_kafka_event_destroy(event);
  rd_kafka_NewPartitions_destroy(wanted);
  rd_kafka_queue_destroy(queue);
  return result;
}

// `topic` is there with one partition. (This librdkafka has no IncrementalAlterConfigs.)
int Alter(const std::string& brokers, const std::string& topic) {
  const Client client = NewClient(RD_KAFKA_PRODUCER, brokers, {}, nullptr);
  const auto configs = [&] {
    return DescribeConfigs(client.get(), RD_KAFKA_RESOURCE_TOPIC, topic);
  };
  Check(configs()["retention.ms"].source == RD_KAFKA_CONFIG_SOURCE_DEFAULT_CONFIG, "a default");
  CheckNoError(AlterConfigs(client.get(), RD_KAFKA_RESOURCE_TOPIC, topic,
                            {{"retention.ms", "86400000"}, {"max.message.bytes", "5000"}}),
               "alter configs");
  ConfigValue retention = configs()["retention.ms"];
  Check(retention.value == "86400000", "the new value");
  Check(retention.source == RD_KAFKA_CONFIG_SOURCE_DYNAMIC_TOPIC_CONFIG, "the topic's own value");
  Check(retention.synonyms == std::vector<std::string>({"retention.ms", "log.retention.ms"}),
        "the topic's value and the broker's");
  CheckNoError(
      AlterConfigs(client.get(), RD_KAFKA_RESOURCE_TOPIC, topic, {{"max.message.bytes", "5000"}}),
      "alter configs again");
  Check(configs()["retention.ms"].value == "604800000", "what is not named to be default again");
  Check(AlterConfigs(client.get(), RD_KAFKA_RESOURCE_TOPIC, topic, {{"retention.ms", "x"}}) ==
            RD_KAFKA_RESP_ERR_INVALID_CONFIG,
        "a bad value to be refused");
  Check(AlterConfigs(client.get(), RD_KAFKA_RESOURCE_TOPIC, topic + "-absent",
                     {{"retention.ms", "5"}}) == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
        "an unknown topic to be refused");
  Check(AlterConfigs(client.get(), RD_KAFKA_RESOURCE_BROKER, "0", {{"log.dirs", "/elsewhere"}}) ==
            RD_KAFKA_RESP_ERR_INVALID_REQUEST,
        "what cannot be changed live to be refused");
  CheckNoError(AlterConfigs(client.get(), RD_KAFKA_RESOURCE_BROKER, "0", {{"num.partitions", "5"}}),
               "alter a broker's config");
  auto broker = DescribeConfigs(client.get(), RD_KAFKA_RESOURCE_BROKER, "1");
  Check(broker["num.partitions"].value == "5" && !broker["num.partitions"].read_only,
        "the broker's settings");
  Check(broker["log.dirs"].read_only, "what is fixed to be read only");
  CheckNoError(AlterConfigs(client.get(), RD_KAFKA_RESOURCE_BROKER, "0", {}), "set nothing");
  broker = DescribeConfigs(client.get(), RD_KAFKA_RESOURCE_BROKER, "0");
  Check(broker["num.partitions"].value == "1", "what is not named to be default again");
  CheckNoError(GrowTopic(client.get(), topic, 4), "create partitions");
  Check(GrowTopic(client.get(), topic, 4) == RD_KAFKA_RESP_ERR_INVALID_PARTITIONS,
        "as many as before to be refused");
  Check(GrowTopic(client.get(), topic + "-absent", 4) == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
        "an unknown topic to be refused");
  Delivered delivered;
  const Client producer = NewClient(RD_KAFKA_PRODUCER, brokers, {}, &delivered);
  for (int32_t partition = 0; partition < 4; ++partition) {
    CheckNoError(Send(producer.get(), topic, partition, {std::nullopt, "new", {}}, 0), "produce");
  }
  CheckNoError(rd_kafka_flush(producer.get(), kDeadlineMs), "flush");
  CheckNoError(delivered.error, "delivery to each partition");
  Check(delivered.offsets.size() == 4, "a report for each");
  return 0;
}

int Load(const std::string& brokers, const std::string& topic, int partitions) {
  Delivered delivered;
  delivered.print = true;
  const Client producer = NewClient(
      RD_KAFKA_PRODUCER, brokers, {{"enable.idempotence", "true"}, {"linger.ms", "1"}}, &delivered);
  for (uint64_t i = 0;; ++i) {
    const auto partition = static_cast<int32_t>(i % static_cast<uint64_t>(partitions));
    const Record record = {std::nullopt, std::to_string(i / static_cast<uint64_t>(partitions)), {}};
    while (Send(producer.get(), topic, partition, record, 0) == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
      rd_kafka_poll(producer.get(), 100);
    }
    rd_kafka_poll(producer.get(), 0);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string command = argc > 1 ? argv[1] : "";
  const auto is = [&](const char* name, int arguments) {
    return command == name && argc == 2 + arguments;
  };
  if (is("roundtrip", 4)) return RoundTrip(argv[2], argv[3], argv[4], argv[5]);
  if (is("one", 3)) return One(argv[2], argv[3], strtoul(argv[4], nullptr, 10));
  if (is("assign", 3)) return Assign(argv[2], argv[3], strtoul(argv[4], nullptr, 10));
  if (is("idempotent", 3)) return Idempotent(argv[2], argv[3], strtoul(argv[4], nullptr, 10));
  if (is("times", 2)) return Times(argv[2], argv[3]);
  if (is("admin", 2)) return Admin(argv[2], argv[3]);
  if (is("alter", 2)) return Alter(argv[2], argv[3]);
  if (is("load", 3)) return Load(argv[2], argv[3], atoi(argv[4]));
  fprintf(stderr, "usage: see the top of rdkafka_client.cc\n");
  return 2;
}
