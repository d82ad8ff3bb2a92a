// Writes group_records.txt: records of __consumer_offsets as Kafka's own classes encode them, one a
// line: NAME VERSION HEX, with the kind or version in front as in the log. README.md says how.

import java.nio.ByteBuffer;
import java.util.List;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.utils.Utils;
import org.apache.kafka.coordinator.group.generated.GroupMetadataKey;
import org.apache.kafka.coordinator.group.generated.GroupMetadataValue;
import org.apache.kafka.coordinator.group.generated.OffsetCommitKey;
import org.apache.kafka.coordinator.group.generated.OffsetCommitValue;

public final class GoldenRecords {
  static void print(String name, Message message, int prefix, int version) {
    ObjectSerializationCache cache = new ObjectSerializationCache();
    ByteBuffer out = ByteBuffer.allocate(2 + message.size(cache, (short) version));
    out.putShort((short) prefix);
    message.write(new ByteBufferAccessor(out), cache, (short) version);
    StringBuilder hex = new StringBuilder();
    for (byte b : out.array()) hex.append(String.format("%02x", b));
    System.out.println(name + " " + version + " " + hex);
  }

  public static void main(String[] args) {
    print("OffsetKey", new OffsetCommitKey().setGroup("gr\u00fcppe").setTopic("orders").setPartition(7), 1, 0);
    print("GroupKey", new GroupMetadataKey().setGroup("gr\u00fcppe"), 2, 0);
    for (int version = 0; version <= 4; version++) {
      OffsetCommitValue value = new OffsetCommitValue().setOffset(123456789012L).setLeaderEpoch(5)
          .setMetadata("meta").setCommitTimestamp(1700000000123L);
      if (version == 1) value.setExpireTimestamp(1700000600123L);
      if (version == 4) value.setTopicId(new Uuid(0x0102030405060708L, 0x090a0b0c0d0e0f10L));
      print("OffsetValue", value, version, version);
    }
    for (int version = 0; version <= 4; version++) {
      GroupMetadataValue.MemberMetadata dynamic = new GroupMetadataValue.MemberMetadata()
          .setMemberId("client-1").setClientId("client").setClientHost("/127.0.0.1")
          .setRebalanceTimeout(60000).setSessionTimeout(10000)
          .setSubscription(new byte[] {1, 2, 3}).setAssignment(new byte[] {4, 5});
      GroupMetadataValue.MemberMetadata fixed = new GroupMetadataValue.MemberMetadata()
          .setMemberId("one-2").setGroupInstanceId("one").setClientId("client").setClientHost("/127.0.0.1")
          .setRebalanceTimeout(60000).setSessionTimeout(10000)
          .setSubscription(new byte[0]).setAssignment(new byte[0]);
      print("GroupValue", new GroupMetadataValue().setProtocolType("consumer").setGeneration(3)
          .setProtocol("range").setLeader("client-1").setCurrentStateTimestamp(1700000000123L)
          .setMembers(List.of(dynamic, fixed)), version, version);
    }
    print("EmptyGroupValue", new GroupMetadataValue().setProtocolType("").setGeneration(4)
        .setProtocol(null).setLeader(null).setCurrentStateTimestamp(-1).setMembers(List.of()), 3, 3);
    for (String id : List.of("g", "gr\u00fcppe", "polygenelubricants", "\ud83d\udc37 swine", "console-consumer-12345")) {
      StringBuilder hex = new StringBuilder();
      for (byte b : id.getBytes(java.nio.charset.StandardCharsets.UTF_8)) hex.append(String.format("%02x", b));
      System.out.println("Partition " + Utils.abs(id.hashCode()) % 50 + " " + hex);
    }
  }
}
