// Consumer groups of the Java clients: members by their handles, and what Admin says of groups.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.ConsumerGroupListing;
import org.apache.kafka.clients.admin.MemberDescription;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

final class Groups {
  private static final ObjectMapper JSON = new ObjectMapper();

  /** A member; its poll calls the listener. */
  private static final class Member implements ConsumerRebalanceListener {
    final String topic;
    final KafkaConsumer<byte[], byte[]> consumer;
    final TreeSet<Integer> owned = new TreeSet<>();
    List<Integer> revoked = new ArrayList<>();

    Member(JsonNode request) {
      topic = request.get("topic").asText();
      consumer = new KafkaConsumer<>(
          settings(request), new ByteArrayDeserializer(), new ByteArrayDeserializer());
      consumer.subscribe(List.of(topic), this);
    }

    private static Map<String, Object> settings(JsonNode request) {
      Map<String, Object> config = new HashMap<>();
      config.put("bootstrap.servers", request.get("brokers").asText());
      config.put("group.id", request.get("group").asText());
      config.put("enable.auto.commit", false);
      config.put("auto.offset.reset", "earliest");
      config.put("fetch.max.wait.ms", 50);
      if (!request.get("instance_id").isNull()) {
        config.put("group.instance.id", request.get("instance_id").asText());
      }
      if (request.get("protocol").asText().equals("consumer")) {
        config.put("group.protocol", "consumer");
        return config;
      }
      boolean cooperative = request.get("assignor").asText().equals("cooperative-sticky");
      config.put("partition.assignment.strategy",
          List.of(cooperative ? CooperativeStickyAssignor.class : RangeAssignor.class));
      config.put("session.timeout.ms", request.get("session_timeout_ms").asInt());
      config.put("heartbeat.interval.ms", 300);
      return config;
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
      for (TopicPartition one : partitions) owned.add(one.partition());
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
      for (TopicPartition one : partitions) {
        owned.remove(one.partition());
        revoked.add(one.partition());
      }
    }

    JsonNode poll(int ms) {
      ArrayNode records = JSON.createArrayNode();
      for (ConsumerRecord<byte[], byte[]> one : consumer.poll(Duration.ofMillis(ms))) {
        records.add(Driver.record(one));
      }
      ObjectNode answer = JSON.createObjectNode();
      answer.set("records", records);
      answer.set("owned", JSON.valueToTree(owned));
      answer.set("revoked", JSON.valueToTree(revoked));
      revoked = new ArrayList<>();
      return answer;
    }
  }

  private final Map<String, Member> members = new HashMap<>();

  JsonNode handle(String op, JsonNode request, Admin admin) throws Exception {
    switch (op) {
      case "group_open":
        members.put(request.get("handle").asText(), new Member(request));
        return JSON.createObjectNode();
      case "group_poll": return member(request).poll(request.get("ms").asInt());
      case "group_commit":
        member(request).consumer.commitSync(offsetsOf(member(request).topic, request));
        return JSON.createObjectNode();
      case "group_close":
        members.remove(request.get("handle").asText()).consumer.close();
        return JSON.createObjectNode().set("records", JSON.createArrayNode());
      case "group_list": return list(admin);
      case "group_describe": return describe(admin, request.get("group").asText());
      case "group_offsets": return offsets(admin, request);
      case "group_set_offsets":
        admin.alterConsumerGroupOffsets(request.get("group").asText(),
            offsetsOf(request.get("topic").asText(), request)).all().get();
        return JSON.createObjectNode();
      case "group_delete_offsets":
        Set<TopicPartition> partitions = new HashSet<>();
        for (JsonNode one : request.get("forget")) {
          partitions.add(new TopicPartition(request.get("topic").asText(), one.asInt()));
        }
        admin.deleteConsumerGroupOffsets(request.get("group").asText(), partitions).all().get();
        return JSON.createObjectNode();
      case "group_delete":
        admin.deleteConsumerGroups(List.of(request.get("group").asText())).all().get();
        return JSON.createObjectNode();
      default: return null;
    }
  }

  private Member member(JsonNode request) {
    return members.get(request.get("handle").asText());
  }

  private static Map<TopicPartition, OffsetAndMetadata> offsetsOf(String topic, JsonNode request) {
    Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
    for (JsonNode one : request.get("offsets")) {
      offsets.put(new TopicPartition(topic, one.get(0).asInt()),
          new OffsetAndMetadata(one.get(1).asLong()));
    }
    return offsets;
  }

  private static JsonNode list(Admin admin) throws Exception {
    ArrayNode names = JSON.createArrayNode();
    for (ConsumerGroupListing one : admin.listConsumerGroups().all().get()) names.add(one.groupId());
    return JSON.createObjectNode().set("groups", names);
  }

  private static JsonNode describe(Admin admin, String group) throws Exception {
    ConsumerGroupDescription found =
        admin.describeConsumerGroups(List.of(group)).all().get().get(group);
    ArrayNode members = JSON.createArrayNode();
    for (MemberDescription member : found.members()) {
      ArrayNode partitions = members.addArray();
      for (TopicPartition one : member.assignment().topicPartitions()) partitions.add(one.partition());
    }
    ObjectNode answer = JSON.createObjectNode().put("state", found.state().toString());
    return answer.set("members", members);
  }

  private static JsonNode offsets(Admin admin, JsonNode request) throws Exception {
    ArrayNode offsets = JSON.createArrayNode();
    admin.listConsumerGroupOffsets(request.get("group").asText()).partitionsToOffsetAndMetadata()
        .get().forEach((partition, committed) -> {
          if (partition.topic().equals(request.get("topic").asText())) {
            offsets.addArray().add(partition.partition()).add(committed.offset()).addNull();
          }
        });
    return JSON.createObjectNode().set("offsets", offsets);
  }
}
