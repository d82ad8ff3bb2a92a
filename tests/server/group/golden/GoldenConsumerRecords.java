// Writes consumer_records.txt: records of consumer groups (KIP-848) as Kafka's own classes encode
// them, one a line: NAME KIND HEX, with the kind or version in front as in the log. README.md says
// how.

import java.nio.ByteBuffer;
import java.util.List;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.coordinator.group.generated.*;

public final class GoldenConsumerRecords {
  static void print(String name, int kind, Message message, int prefix) {
    ObjectSerializationCache cache = new ObjectSerializationCache();
    ByteBuffer out = ByteBuffer.allocate(2 + message.size(cache, (short) 0));
    out.putShort((short) prefix);
    message.write(new ByteBufferAccessor(out), cache, (short) 0);
    StringBuilder hex = new StringBuilder();
    for (byte b : out.array()) hex.append(String.format("%02x", b));
    System.out.println(name + " " + kind + " " + hex);
  }

  public static void main(String[] args) {
    Uuid a = new Uuid(0x0102030405060708L, 0x090a0b0c0d0e0f10L);
    Uuid b = new Uuid(0x1112131415161718L, 0x191a1b1c1d1e1f20L);
    print("Key", 3, new ConsumerGroupMetadataKey().setGroupId("gr\u00fcppe"), 3);
    print("Key", 4, new ConsumerGroupPartitionMetadataKey().setGroupId("gr\u00fcppe"), 4);
    print("Key", 5, new ConsumerGroupMemberMetadataKey().setGroupId("gr\u00fcppe").setMemberId("m"), 5);
    print("Key", 6, new ConsumerGroupTargetAssignmentMetadataKey().setGroupId("gr\u00fcppe"), 6);
    print("Key", 7, new ConsumerGroupTargetAssignmentMemberKey().setGroupId("gr\u00fcppe").setMemberId("m"), 7);
    print("Key", 8, new ConsumerGroupCurrentMemberAssignmentKey().setGroupId("gr\u00fcppe").setMemberId("m"), 8);
    print("Key", 16, new ConsumerGroupRegularExpressionKey().setGroupId("gr\u00fcppe").setRegularExpression("m"), 16);
    print("Value", 3, new ConsumerGroupMetadataValue().setEpoch(7).setMetadataHash(0x0123456789abcdefL), 0);
    print("NoHashValue", 3, new ConsumerGroupMetadataValue().setEpoch(7), 0);
    print("Value", 5, new ConsumerGroupMemberMetadataValue().setInstanceId("one").setRackId("rack")
        .setClientId("client").setClientHost("/127.0.0.1").setSubscribedTopicNames(List.of("a", "b"))
        .setSubscribedTopicRegex("a.*").setRebalanceTimeoutMs(300000).setServerAssignor("range"), 0);
    print("PlainValue", 5, new ConsumerGroupMemberMetadataValue().setInstanceId(null).setRackId(null)
        .setClientId("client").setClientHost("/127.0.0.1").setSubscribedTopicNames(List.of())
        .setSubscribedTopicRegex(null).setRebalanceTimeoutMs(300000).setServerAssignor(null), 0);
    print("ClassicValue", 5, new ConsumerGroupMemberMetadataValue().setInstanceId(null).setRackId(null)
        .setClientId("client").setClientHost("/127.0.0.1").setSubscribedTopicNames(List.of("a"))
        .setSubscribedTopicRegex(null).setRebalanceTimeoutMs(300000).setServerAssignor(null)
        .setClassicMemberMetadata(new ConsumerGroupMemberMetadataValue.ClassicMemberMetadata()
            .setSessionTimeoutMs(10000).setSupportedProtocols(List.of(
                new ConsumerGroupMemberMetadataValue.ClassicProtocol().setName("range")
                    .setMetadata(new byte[] {1, 2, 3})))), 0);
    print("Value", 6, new ConsumerGroupTargetAssignmentMetadataValue().setAssignmentEpoch(9), 0);
    print("Value", 7, new ConsumerGroupTargetAssignmentMemberValue().setTopicPartitions(List.of(
        new ConsumerGroupTargetAssignmentMemberValue.TopicPartition().setTopicId(a).setPartitions(List.of(0, 2)),
        new ConsumerGroupTargetAssignmentMemberValue.TopicPartition().setTopicId(b).setPartitions(List.of(1)))), 0);
    print("Value", 8, new ConsumerGroupCurrentMemberAssignmentValue().setMemberEpoch(10).setPreviousMemberEpoch(9)
        .setState((byte) 1).setAssignedPartitions(List.of(
            new ConsumerGroupCurrentMemberAssignmentValue.TopicPartitions().setTopicId(a).setPartitions(List.of(0, 2))))
        .setPartitionsPendingRevocation(List.of(
            new ConsumerGroupCurrentMemberAssignmentValue.TopicPartitions().setTopicId(b).setPartitions(List.of(1)))), 0);
    print("Value", 16, new ConsumerGroupRegularExpressionValue().setTopics(List.of("a", "ab")).setVersion(12)
        .setTimestamp(1700000000123L), 0);
  }
}
