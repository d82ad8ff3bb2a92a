// librdkafka's C API as a driver: JSON lines in, JSON lines out. ../../README.md has the
// operations.
//
// One producer lives for each set of settings, from its first use to the end of the input.
#include <librdkafka/rdkafka.h>
#include <unistd.h>

#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/compat/clients/librdkafka/client.h"
#include "tests/compat/clients/librdkafka/group.h"
#include "tests/compat/clients/librdkafka/record.h"

namespace compat {
namespace {

void Send(rd_kafka_t* producer, const std::string& topic, const Json& record, Delivery* delivery) {
  Part key(record["k"]), value(record["v"]);
  const int32_t partition =
      record["p"].is_null() ? RD_KAFKA_PARTITION_UA : record["p"].get<int32_t>();
  const int64_t time_ms = record["t"].is_null() ? 0 : record["t"].get<int64_t>();
  while (true) {
    rd_kafka_headers_t* headers = Headers(record["h"]);
    const rd_kafka_resp_err_t error = rd_kafka_producev(
        producer, RD_KAFKA_V_TOPIC(topic.c_str()), RD_KAFKA_V_PARTITION(partition),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(key.data(), key.bytes.size()),
        RD_KAFKA_V_VALUE(value.data(), value.bytes.size()), RD_KAFKA_V_HEADERS(headers),
        RD_KAFKA_V_TIMESTAMP(time_ms), RD_KAFKA_V_OPAQUE(delivery), RD_KAFKA_V_END);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) return;
    rd_kafka_headers_destroy(headers);
    if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL) throw Error(error, "produce");
    rd_kafka_poll(producer, 100);
  }
}

Settings ProducerSettings(const Json& request) {
  Settings settings = {{"bootstrap.servers", request["brokers"]},
                       {"compression.codec", request["codec"]},
                       {"acks", request["acks"]},
                       {"linger.ms", "5"},
                       {"message.timeout.ms", "60000"},
                       {"enable.idempotence", request["idempotent"] ? "true" : "false"}};
  if (request.contains("batch_bytes")) {
    settings["batch.size"] = std::to_string(request["batch_bytes"].get<int>());
  }
  if (request.contains("request_max_bytes")) {
    settings["message.max.bytes"] = std::to_string(request["request_max_bytes"].get<int>());
  }
  return settings;
}

class Driver {
 public:
  Json Handle(const Json& request);

 private:
  Json Produce(const Json& request);
  Json Consume(const Json& request);
  Json Group(const std::string& op, const Json& request);
  rd_kafka_t* Producer(const Settings& settings);
  rd_kafka_t* Admin(const Json& request) {
    return Producer({{"bootstrap.servers", request["brokers"]}});
  }

  std::map<Settings, Client> producers_;
  std::map<std::string, std::unique_ptr<Member>> members_;  // by their handles
};

rd_kafka_t* Driver::Producer(const Settings& settings) {
  Client& producer = producers_[settings];
  if (producer == nullptr) producer = NewClient(RD_KAFKA_PRODUCER, settings);
  return producer.get();
}

Json Driver::Produce(const Json& request) {
  rd_kafka_t* producer = Producer(ProducerSettings(request));
  const Json& records = request["records"];
  std::vector<Delivery> deliveries(records.size());
  for (size_t i = 0; i < records.size(); ++i) {
    Send(producer, request["topic"], records[i], &deliveries[i]);
    rd_kafka_poll(producer, 0);
  }
  const rd_kafka_resp_err_t error = rd_kafka_flush(producer, kDeadlineMs);
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) throw Error(error, "flush");
  Json offsets = Json::array();
  for (const Delivery& one : deliveries) {
    if (one.error != RD_KAFKA_RESP_ERR_NO_ERROR) throw Error(one.error, "delivery");
    offsets.push_back(one.offset);
  }
  if (request["acks"] == "0") offsets = nullptr;
  return {{"offsets", offsets}};
}

Json Driver::Consume(const Json& request) {
  Settings settings = {{"bootstrap.servers", request["brokers"]},
                       {"group.id", "none"},
                       {"enable.auto.commit", "false"},
                       {"check.crcs", "true"},
                       {"fetch.wait.max.ms", "50"}};
  if (request.contains("fetch_max_bytes")) {
    const auto limit = std::to_string(request["fetch_max_bytes"].get<int>());
    settings["fetch.max.bytes"] = settings["message.max.bytes"] = limit;
    settings["max.partition.fetch.bytes"] =
        std::to_string(request["partition_max_bytes"].get<int>());
  }
  const Client consumer = NewClient(RD_KAFKA_CONSUMER, settings);
  rd_kafka_poll_set_consumer(consumer.get());
  const auto topic = request["topic"].get<std::string>();
  PartitionList wanted;
  std::map<int32_t, int64_t> ends;
  for (const Json& range : request["ranges"]) {
    if (range[1] == range[2]) continue;
    wanted.Add(topic, range[0], range[1]);
    ends[range[0].get<int32_t>()] = range[2].get<int64_t>();
  }
  CheckNoError(rd_kafka_assign(consumer.get(), wanted.get()), "assign");
  Json found = Json::array();
  while (!ends.empty()) {
    rd_kafka_message_t* message = rd_kafka_consumer_poll(consumer.get(), kDeadlineMs);
    if (message == nullptr) throw std::runtime_error("no record in time");
    const rd_kafka_resp_err_t error = message->err;
    const auto end = ends.find(message->partition);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR && end != ends.end() && message->offset < end->second) {
      found.push_back(RecordOf(message));
      if (message->offset + 1 == end->second) ends.erase(end);
    }
    rd_kafka_message_destroy(message);
    if (!IsPassing(error)) throw Error(error, "consume");
  }
  return {{"records", found}};
}

Json Driver::Group(const std::string& op, const Json& request) {
  if (op == "group_list") return GroupList(Admin(request));
  if (op == "group_describe") return GroupDescribe(Admin(request), request);
  if (op == "group_offsets") return GroupOffsets(Admin(request), request);
  if (op == "group_set_offsets") return GroupSetOffsets(Admin(request), request);
  if (op == "group_delete_offsets") return GroupDeleteOffsets(Admin(request), request);
  if (op == "group_delete") return GroupDelete(Admin(request), request);
  const auto handle = request["handle"].get<std::string>();
  if (op == "group_open") {
    members_[handle] = std::make_unique<Member>(request);
    return Json::object();
  }
  Member& member = *members_.at(handle);
  if (op == "group_poll") return member.Poll(request["ms"].get<int>());
  if (op == "group_commit") return member.Commit(request["offsets"]);
  if (op != "group_close") return {};
  members_.erase(handle);
  return {{"records", Json::array()}};
}

Json Driver::Handle(const Json& request) {
  const auto op = request["op"].get<std::string>();
  if (op == "hello") return {{"version", rd_kafka_version_str()}};
  if (op == "produce") return Produce(request);
  if (op == "consume") return Consume(request);
  if (op == "offsets") return Offsets(Admin(request), request);
  if (op == "list_topics") return ListTopics(Admin(request));
  if (op == "partitions") return Partitions(Admin(request), request);
  if (op == "create_topic") return CreateTopic(Admin(request), request);
  if (op == "delete_topic") return DeleteTopic(Admin(request), request);
  if (op == "add_partitions") return AddPartitions(Admin(request), request);
  if (op == "delete_records") return DeleteRecords(Admin(request), request);
  if (op == "describe_config") return DescribeConfig(Admin(request), request);
  if (op == "alter_config") return AlterConfig(Admin(request), request);
  if (op.starts_with("group_")) return Group(op, request);
  return {};
}

Json Answer(Driver& driver, const std::string& line) {
  try {
    const Json request = Json::parse(line);
    Json answer = driver.Handle(request);
    if (answer.is_null())
      return {{"unsupported", "no operation " + request["op"].get<std::string>()}};
    return {{"ok", answer}};
  } catch (const Error& error) {
    const int code = error.error() > 0 ? static_cast<int>(error.error()) : -1;
    return {{"error", {{"code", code}, {"message", error.what()}}}};
  } catch (const std::exception& error) {
    return {{"error", {{"code", nullptr}, {"message", error.what()}}}};
  }
}

}  // namespace
}  // namespace compat

int main() {
  compat::Driver driver;
  std::string line;
  while (std::getline(std::cin, line)) {
    // A header's name need not be UTF-8.
    std::cout
        << compat::Answer(driver, line).dump(-1, ' ', false, compat::Json::error_handler_t::replace)
        << std::endl;
  }
}
