// Kafka's Java clients, 3.x and 4.x, as a driver: JSON lines in, JSON lines out (../../README.md).

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.utils.AppInfoParser;

public final class Driver {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final Duration DEADLINE = Duration.ofSeconds(60);

  private final Map<String, KafkaProducer<byte[], byte[]>> producers = new HashMap<>();
  private final Map<String, Admin> admins = new HashMap<>();
  private final Groups groups = new Groups();

  public static void main(String[] arguments) throws Exception {
    PrintStream out = System.out;
    System.setOut(System.err);
    Driver driver = new Driver();
    BufferedReader in =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      out.write((driver.answer(line) + "\n").getBytes(StandardCharsets.UTF_8));
      out.flush();
    }
    System.exit(0);
  }

  private String answer(String line) throws Exception {
    ObjectNode answer = JSON.createObjectNode();
    try {
      JsonNode request = JSON.readTree(line);
      JsonNode result = handle(request.get("op").asText(), request);
      if (result == null) {
        return answer.put("unsupported", request.get("op").asText()).toString();
      }
      return answer.set("ok", result).toString();
    } catch (Throwable thrown) {
      thrown.printStackTrace();
      Throwable cause = thrown;
      while ((cause instanceof ExecutionException || cause instanceof InvocationTargetException)
          && cause.getCause() != null) {
        cause = cause.getCause();
      }
      ObjectNode error = answer.putObject("error");
      short code = Errors.forException(cause).code();
      error.put("code", code > 0 ? Short.valueOf(code) : null).put("message", cause.toString());
      return answer.toString();
    }
  }

  private JsonNode handle(String op, JsonNode request) throws Exception {
    switch (op) {
      case "hello": return JSON.createObjectNode().put("version", AppInfoParser.getVersion());
      case "produce": return produce(request);
      case "consume": return consume(request);
      case "offsets": return offsets(request);
      case "list_topics": return listTopics(request);
      case "partitions": return partitions(request);
      case "create_topic": return createTopic(request);
      case "delete_topic": return done(admin(request).deleteTopics(List.of(topic(request))).all());
      case "add_partitions":
        return done(admin(request).createPartitions(Map.of(topic(request),
            NewPartitions.increaseTo(request.get("total").asInt()))).all());
      case "delete_records": return deleteRecords(request);
      case "describe_config": return describeConfig(request);
      case "alter_config": return alterConfig(request);
      case "incremental_alter": return incrementalAlter(request);
      default: return op.startsWith("group_") ? groups.handle(op, request, admin(request)) : null;
    }
  }

  private static byte[] bytes(JsonNode text) {
    return text.isNull() ? null : Base64.getDecoder().decode(text.asText());
  }

  private static String text(byte[] bytes) {
    return bytes == null ? null : Base64.getEncoder().encodeToString(bytes);
  }

  private static String topic(JsonNode request) {
    return request.get("topic").asText();
  }

  private static TopicPartition partition(JsonNode request) {
    return new TopicPartition(topic(request), request.get("partition").asInt());
  }

  private static JsonNode done(Future<?> future) throws Exception {
    future.get();
    return JSON.createObjectNode();
  }

  private KafkaProducer<byte[], byte[]> producer(JsonNode request) {
    Map<String, Object> config = new TreeMap<>();
    config.put("bootstrap.servers", request.get("brokers").asText());
    config.put("compression.type", request.get("codec").asText());
    config.put("acks", request.get("acks").asText());
    config.put("enable.idempotence", request.get("idempotent").asBoolean());
    config.put("linger.ms", 5);
    config.put("delivery.timeout.ms", 60_000);
    config.put("request.timeout.ms", 10_000);
    config.put("buffer.memory", 64 << 20);
    if (request.has("batch_bytes")) config.put("batch.size", request.get("batch_bytes").asInt());
    if (request.has("request_max_bytes")) {
      config.put("max.request.size", request.get("request_max_bytes").asInt());
    }
    return producers.computeIfAbsent(config.toString(), key ->
        new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer()));
  }

  private JsonNode produce(JsonNode request) throws Exception {
    KafkaProducer<byte[], byte[]> producer = producer(request);
    List<Future<RecordMetadata>> futures = new ArrayList<>();
    for (JsonNode one : request.get("records")) {
      List<Header> headers = new ArrayList<>();
      for (JsonNode header : one.get("h")) {
        headers.add(new RecordHeader(header.get(0).asText(), bytes(header.get(1))));
      }
      futures.add(producer.send(new ProducerRecord<>(topic(request),
          one.get("p").isNull() ? null : one.get("p").asInt(),
          one.get("t").isNull() ? null : one.get("t").asLong(), bytes(one.get("k")),
          bytes(one.get("v")), headers)));
    }
    producer.flush();
    ArrayNode offsets = JSON.createArrayNode();
    for (Future<RecordMetadata> future : futures) offsets.add(future.get().offset());
    ObjectNode answer = JSON.createObjectNode();
    return request.get("acks").asText().equals("0")
        ? answer.putNull("offsets") : answer.set("offsets", offsets);
  }

  private JsonNode consume(JsonNode request) {
    Map<String, Object> config = new HashMap<>();
    config.put("bootstrap.servers", request.get("brokers").asText());
    config.put("enable.auto.commit", false);
    config.put("fetch.max.wait.ms", 50);
    if (request.has("fetch_max_bytes")) {
      config.put("fetch.max.bytes", request.get("fetch_max_bytes").asInt());
      config.put("max.partition.fetch.bytes", request.get("partition_max_bytes").asInt());
    }
    Map<TopicPartition, Long> ends = new HashMap<>();
    ArrayNode found = JSON.createArrayNode();
    try (KafkaConsumer<byte[], byte[]> consumer =
        new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
      Map<TopicPartition, Long> firsts = new HashMap<>();
      for (JsonNode range : request.get("ranges")) {
        TopicPartition one = new TopicPartition(topic(request), range.get(0).asInt());
        if (range.get(1).asLong() == range.get(2).asLong()) continue;
        firsts.put(one, range.get(1).asLong());
        ends.put(one, range.get(2).asLong());
      }
      consumer.assign(firsts.keySet());
      firsts.forEach(consumer::seek);
      long giveUp = System.nanoTime() + DEADLINE.toNanos();
      while (!ends.isEmpty()) {
        if (System.nanoTime() > giveUp) throw new IllegalStateException("no record in time");
        for (ConsumerRecord<byte[], byte[]> one : consumer.poll(Duration.ofSeconds(1))) {
          TopicPartition from = new TopicPartition(one.topic(), one.partition());
          Long end = ends.get(from);
          if (end == null || one.offset() >= end) continue;
          found.add(record(one));
          if (one.offset() + 1 == end) ends.remove(from);
          giveUp = System.nanoTime() + DEADLINE.toNanos();
        }
      }
    }
    return JSON.createObjectNode().set("records", found);
  }

  static ObjectNode record(ConsumerRecord<byte[], byte[]> one) {
    ObjectNode node = JSON.createObjectNode().put("p", one.partition()).put("o", one.offset())
        .put("t", one.timestamp()).put("k", text(one.key())).put("v", text(one.value()));
    ArrayNode headers = node.putArray("h");
    for (Header header : one.headers()) {
      headers.addArray().add(header.key()).add(text(header.value()));
    }
    return node;
  }

  private Admin admin(JsonNode request) {
    return admins.computeIfAbsent(request.get("brokers").asText(),
        brokers -> Admin.create(Map.of("bootstrap.servers", brokers)));
  }

  private JsonNode offsets(JsonNode request) throws Exception {
    JsonNode at = request.get("at");
    OffsetSpec spec = at.isNumber() ? OffsetSpec.forTimestamp(at.asLong())
        : at.asText().equals("earliest") ? OffsetSpec.earliest() : OffsetSpec.latest();
    TopicPartition one = partition(request);
    return JSON.createObjectNode().put("offset",
        admin(request).listOffsets(Map.of(one, spec)).partitionResult(one).get().offset());
  }

  private JsonNode listTopics(JsonNode request) throws Exception {
    ArrayNode names = JSON.createArrayNode();
    admin(request).listTopics().names().get().forEach(names::add);
    return JSON.createObjectNode().set("topics", names);
  }

  private JsonNode partitions(JsonNode request) throws Exception {
    return JSON.createObjectNode().put("partitions", admin(request)
        .describeTopics(List.of(topic(request))).topicNameValues().get(topic(request)).get()
        .partitions().size());
  }

  private static Map<String, String> settings(JsonNode node) {
    Map<String, String> settings = new HashMap<>();
    node.fields().forEachRemaining(one -> settings.put(one.getKey(), one.getValue().asText()));
    return settings;
  }

  private JsonNode createTopic(JsonNode request) throws Exception {
    return done(admin(request).createTopics(List.of(
        new NewTopic(topic(request), Optional.of(request.get("partitions").asInt()),
            Optional.empty()).configs(settings(request.get("configs"))))).all());
  }

  private JsonNode deleteRecords(JsonNode request) throws Exception {
    TopicPartition one = partition(request);
    return JSON.createObjectNode().put("low", admin(request)
        .deleteRecords(Map.of(one, RecordsToDelete.beforeOffset(request.get("before").asLong())))
        .lowWatermarks().get(one).get().lowWatermark());
  }

  private static ConfigResource resource(JsonNode request) {
    return new ConfigResource(ConfigResource.Type.TOPIC, topic(request));
  }

  private JsonNode describeConfig(JsonNode request) throws Exception {
    ObjectNode configs = JSON.createObjectNode();
    for (ConfigEntry entry : admin(request).describeConfigs(List.of(resource(request))).all().get()
        .get(resource(request)).entries()) {
      configs.put(entry.name(), entry.value());
    }
    return JSON.createObjectNode().set("configs", configs);
  }

  /** By its name: 4.0 has removed Admin.alterConfigs. */
  private JsonNode alterConfig(JsonNode request) throws Exception {
    List<ConfigEntry> entries = new ArrayList<>();
    settings(request.get("configs")).forEach((name, value) -> entries.add(new ConfigEntry(name, value)));
    for (java.lang.reflect.Method method : Admin.class.getMethods()) {
      if (method.getName().equals("alterConfigs") && method.getParameterCount() == 1) {
        Object result = method.invoke(admin(request), Map.of(resource(request), new Config(entries)));
        Future<?> all = (Future<?>) result.getClass().getMethod("all").invoke(result);
        return done(all);
      }
    }
    return null;
  }

  private JsonNode incrementalAlter(JsonNode request) throws Exception {
    List<AlterConfigOp> ops = new ArrayList<>();
    settings(request.get("set")).forEach((name, value) ->
        ops.add(new AlterConfigOp(new ConfigEntry(name, value), AlterConfigOp.OpType.SET)));
    for (JsonNode name : request.get("delete")) {
      ops.add(new AlterConfigOp(new ConfigEntry(name.asText(), null), AlterConfigOp.OpType.DELETE));
    }
    return done(admin(request).incrementalAlterConfigs(Map.of(resource(request), ops)).all());
  }
}
