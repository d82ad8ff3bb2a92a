// A member of a consumer group, and what the admin API says of groups. ../../README.md has the
// operations.
#ifndef RINGTAIL_TESTS_COMPAT_CLIENTS_LIBRDKAFKA_GROUP_H_
#define RINGTAIL_TESTS_COMPAT_CLIENTS_LIBRDKAFKA_GROUP_H_

#include <librdkafka/rdkafka.h>

#include <set>
#include <string>

#include "tests/compat/clients/librdkafka/client.h"

namespace compat {

// Leaves its group when it is destroyed.
class Member {
 public:
  explicit Member(const Json& request);
  Member(const Member&) = delete;
  Member& operator=(const Member&) = delete;
  ~Member();

  // Waits no longer than `ms` for the first record.
  Json Poll(int ms);
  Json Commit(const Json& offsets);

 private:
  static void OnRebalance(rd_kafka_t* client, rd_kafka_resp_err_t what,
                          rd_kafka_topic_partition_list_t* partitions, void* self);
  void Rebalance(rd_kafka_resp_err_t what, const rd_kafka_topic_partition_list_t& partitions);

  std::string topic_;
  std::set<int32_t> owned_;
  Json revoked_ = Json::array();  // since the last Poll
  Client consumer_;
};

Json GroupList(rd_kafka_t* client);
Json GroupDescribe(rd_kafka_t* client, const Json& request);
Json GroupOffsets(rd_kafka_t* client, const Json& request);
Json GroupSetOffsets(rd_kafka_t* client, const Json& request);
Json GroupDeleteOffsets(rd_kafka_t* client, const Json& request);
Json GroupDelete(rd_kafka_t* client, const Json& request);

}  // namespace compat

#endif  // RINGTAIL_TESTS_COMPAT_CLIENTS_LIBRDKAFKA_GROUP_H_
