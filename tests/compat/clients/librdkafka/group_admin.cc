#include <string>

#include "tests/compat/clients/librdkafka/group.h"

namespace compat {
namespace {

void CheckError(const rd_kafka_error_t* error, const std::string& what) {
  if (error != nullptr) throw Error(rd_kafka_error_code(error), what);
}

void CheckGroup(const rd_kafka_group_result_t* const* groups, size_t count) {
  if (count != 1) throw std::runtime_error("expected one result");
  CheckError(rd_kafka_group_result_error(groups[0]), "group");
  const rd_kafka_topic_partition_list_t* partitions = rd_kafka_group_result_partitions(groups[0]);
  for (int i = 0; partitions != nullptr && i < partitions->cnt; ++i) {
    CheckNoError(partitions->elems[i].err, "group, a partition");
  }
}

}  // namespace

Json GroupList(rd_kafka_t* client) {
  const Event event = AdminCall(client, [&](rd_kafka_queue_t* queue) {
    rd_kafka_ListConsumerGroups(client, nullptr, queue);
  });
  const auto* result = rd_kafka_event_ListConsumerGroups_result(event.get());
  size_t count = 0;
  const auto** groups = rd_kafka_ListConsumerGroups_result_valid(result, &count);
  Json names = Json::array();
  for (size_t i = 0; i < count; ++i) {
    names.push_back(rd_kafka_ConsumerGroupListing_group_id(groups[i]));
  }
  return {{"groups", names}};
}

Json GroupDescribe(rd_kafka_t* client, const Json& request) {
  const auto group = request["group"].get<std::string>();
  const char* name = group.c_str();
  const Event event = AdminCall(client, [&](rd_kafka_queue_t* queue) {
    rd_kafka_DescribeConsumerGroups(client, &name, 1, nullptr, queue);
  });
  size_t count = 0;
  const auto** groups = rd_kafka_DescribeConsumerGroups_result_groups(
      rd_kafka_event_DescribeConsumerGroups_result(event.get()), &count);
  if (count != 1) throw std::runtime_error("expected one group");
  CheckError(rd_kafka_ConsumerGroupDescription_error(groups[0]), "describe group");
  Json members = Json::array();
  for (size_t i = 0; i < rd_kafka_ConsumerGroupDescription_member_count(groups[0]); ++i) {
    const auto* assigned =
        rd_kafka_MemberAssignment_partitions(rd_kafka_MemberDescription_assignment(
            rd_kafka_ConsumerGroupDescription_member(groups[0], i)));
    Json partitions = Json::array();
    for (int j = 0; j < assigned->cnt; ++j) partitions.push_back(assigned->elems[j].partition);
    members.push_back(partitions);
  }
  const auto state = rd_kafka_ConsumerGroupDescription_state(groups[0]);
  return {{"state", rd_kafka_consumer_group_state_name(state)}, {"members", members}};
}

Json GroupOffsets(rd_kafka_t* client, const Json& request) {
  rd_kafka_ListConsumerGroupOffsets_t* wanted =
      rd_kafka_ListConsumerGroupOffsets_new(request["group"].get<std::string>().c_str(), nullptr);
  const Event event = AdminCall(client, [&](rd_kafka_queue_t* queue) {
    rd_kafka_ListConsumerGroupOffsets(client, &wanted, 1, nullptr, queue);
  });
  rd_kafka_ListConsumerGroupOffsets_destroy(wanted);
  size_t count = 0;
  const auto** groups = rd_kafka_ListConsumerGroupOffsets_result_groups(
      rd_kafka_event_ListConsumerGroupOffsets_result(event.get()), &count);
  CheckGroup(groups, count);
  const auto topic = request["topic"].get<std::string>();
  const auto* partitions = rd_kafka_group_result_partitions(groups[0]);
  Json offsets = Json::array();
  for (int i = 0; i < partitions->cnt; ++i) {
    const auto& one = partitions->elems[i];
    if (one.topic == topic) offsets.push_back({one.partition, one.offset, nullptr});
  }
  return {{"offsets", offsets}};
}

Json GroupSetOffsets(rd_kafka_t* client, const Json& request) {
  PartitionList offsets;
  for (const Json& one : request["offsets"]) offsets.Add(request["topic"], one[0], one[1]);
  rd_kafka_AlterConsumerGroupOffsets_t* wanted = rd_kafka_AlterConsumerGroupOffsets_new(
      request["group"].get<std::string>().c_str(), offsets.get());
  const Event event = AdminCall(client, [&](rd_kafka_queue_t* queue) {
    rd_kafka_AlterConsumerGroupOffsets(client, &wanted, 1, nullptr, queue);
  });
  rd_kafka_AlterConsumerGroupOffsets_destroy(wanted);
  size_t count = 0;
  const auto** groups = rd_kafka_AlterConsumerGroupOffsets_result_groups(
      rd_kafka_event_AlterConsumerGroupOffsets_result(event.get()), &count);
  CheckGroup(groups, count);
  return Json::object();
}

Json GroupDeleteOffsets(rd_kafka_t* client, const Json& request) {
  PartitionList partitions;
  for (const Json& one : request["forget"]) {
    partitions.Add(request["topic"], one, RD_KAFKA_OFFSET_INVALID);
  }
  rd_kafka_DeleteConsumerGroupOffsets_t* wanted = rd_kafka_DeleteConsumerGroupOffsets_new(
      request["group"].get<std::string>().c_str(), partitions.get());
  const Event event = AdminCall(client, [&](rd_kafka_queue_t* queue) {
    rd_kafka_DeleteConsumerGroupOffsets(client, &wanted, 1, nullptr, queue);
  });
  rd_kafka_DeleteConsumerGroupOffsets_destroy(wanted);
  size_t count = 0;
  const auto** groups = rd_kafka_DeleteConsumerGroupOffsets_result_groups(
      rd_kafka_event_DeleteConsumerGroupOffsets_result(event.get()), &count);
  CheckGroup(groups, count);
  return Json::object();
}

Json GroupDelete(rd_kafka_t* client, const Json& request) {
  rd_kafka_DeleteGroup_t* wanted =
      rd_kafka_DeleteGroup_new(request["group"].get<std::string>().c_str());
  const Event event = AdminCall(client, [&](rd_kafka_queue_t* queue) {
    rd_kafka_DeleteGroups(client, &wanted, 1, nullptr, queue);
  });
  rd_kafka_DeleteGroup_destroy(wanted);
  size_t count = 0;
  const auto** groups =
      rd_kafka_DeleteGroups_result_groups(rd_kafka_event_DeleteGroups_result(event.get()), &count);
  CheckGroup(groups, count);
  return Json::object();
}

}  // namespace compat
