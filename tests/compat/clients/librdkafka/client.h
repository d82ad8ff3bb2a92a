// librdkafka's handles with owners, its errors as exceptions, and its admin operations.
#ifndef RINGTAIL_TESTS_COMPAT_CLIENTS_LIBRDKAFKA_CLIENT_H_
#define RINGTAIL_TESTS_COMPAT_CLIENTS_LIBRDKAFKA_CLIENT_H_

#include <librdkafka/rdkafka.h>

#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

namespace compat {

using Json = nlohmann::json;
using Settings = std::map<std::string, std::string>;

inline constexpr int kDeadlineMs = 60'000;

class Error : public std::runtime_error {
 public:
  Error(rd_kafka_resp_err_t error, const std::string& what)
      : std::runtime_error(what + ": " + rd_kafka_err2name(error)), error_(error) {}
  rd_kafka_resp_err_t error() const { return error_; }

 private:
  rd_kafka_resp_err_t error_;
};

inline void CheckNoError(rd_kafka_resp_err_t error, const std::string& what) {
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) throw Error(error, what);
}

// Errors that the library tells and then mends by itself: it connects again. A group is named only
// because rd_kafka_assign wants one.
inline bool IsPassing(rd_kafka_resp_err_t error) {
  return error == RD_KAFKA_RESP_ERR_NO_ERROR || error == RD_KAFKA_RESP_ERR__TRANSPORT ||
         error == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || error == RD_KAFKA_RESP_ERR__RESOLVE ||
         error == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED;
}

// What became of one record.
struct Delivery {
  rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR__FAIL;
  int64_t offset = -1;
};

struct DestroyClient {
  void operator()(rd_kafka_t* client) const { rd_kafka_destroy(client); }
};
using Client = std::unique_ptr<rd_kafka_t, DestroyClient>;

using RebalanceCallback = void(rd_kafka_t* client, rd_kafka_resp_err_t what,
                               rd_kafka_topic_partition_list_t* partitions, void* opaque);

// A producer reports to the Delivery that is a record's opaque; `rebalance` is for a group's
// member.
Client NewClient(rd_kafka_type_t type, const Settings& settings,
                 RebalanceCallback* rebalance = nullptr, void* opaque = nullptr);

struct DestroyEvent {
  void operator()(rd_kafka_event_t* event) const { rd_kafka_event_destroy(event); }
};
using Event = std::unique_ptr<rd_kafka_event_t, DestroyEvent>;

// Waits for the answer to the one call that `call` puts on the queue.
Event AdminCall(rd_kafka_t* client, const std::function<void(rd_kafka_queue_t*)>& call);

class PartitionList {
 public:
  PartitionList() : list_(rd_kafka_topic_partition_list_new(1)) {}
  PartitionList(const PartitionList&) = delete;
  PartitionList& operator=(const PartitionList&) = delete;
  ~PartitionList() { rd_kafka_topic_partition_list_destroy(list_); }

  void Add(const std::string& topic, int32_t partition, int64_t offset) {
    rd_kafka_topic_partition_list_add(list_, topic.c_str(), partition)->offset = offset;
  }
  rd_kafka_topic_partition_list_t* get() { return list_; }

 private:
  rd_kafka_topic_partition_list_t* list_;
};

// The operations of ../../README.md; `client` is any producer or consumer.
Json Offsets(rd_kafka_t* client, const Json& request);
Json ListTopics(rd_kafka_t* client);
Json Partitions(rd_kafka_t* client, const Json& request);
Json CreateTopic(rd_kafka_t* client, const Json& request);
Json DeleteTopic(rd_kafka_t* client, const Json& request);
Json AddPartitions(rd_kafka_t* client, const Json& request);
Json DeleteRecords(rd_kafka_t* client, const Json& request);
Json DescribeConfig(rd_kafka_t* client, const Json& request);
Json AlterConfig(rd_kafka_t* client, const Json& request);

}  // namespace compat

#endif  // RINGTAIL_TESTS_COMPAT_CLIENTS_LIBRDKAFKA_CLIENT_H_
