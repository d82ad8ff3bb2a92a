// Writes kafka_messages.txt with Kafka's own message classes; README.md says how.
//
// One line a message, version and variant: NAME VERSION VARIANT HEX. Variants: `full` sets every field that
// the version carries, `nulls` also sets every nullable one to null (left out where nothing is), `default` sets none. A value is
// a function of its field's name and of its place in arrays (see `mix`), so that the test, which follows the
// same rules in C++, knows each field's value without being told.

import java.io.PrintStream;
import java.lang.reflect.Method;
import java.lang.reflect.ParameterizedType;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Locale;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.MessageUtil;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.Field;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;
import org.apache.kafka.common.record.MemoryRecords;

public final class GoldenGenerator {
  private final boolean nulls;

  private GoldenGenerator(boolean nulls) {
    this.nulls = nulls;
  }

  // FNV-1a of the field's name in lower case without underscores, mixed with the path of array indexes.
  static int mix(String name, int path) {
    int hash = 0x811c9dc5;
    for (byte b : name.toLowerCase(Locale.ROOT).replace("_", "").getBytes(StandardCharsets.US_ASCII)) {
      hash = (hash ^ (b & 0xff)) * 0x01000193;
    }
    hash ^= path * 0x9e3779b1;
    hash ^= hash >>> 15;
    hash *= 0x2c1b3c6d;
    return hash ^ (hash >>> 13);
  }

  static int child(int path, int index) {
    return path * 31 + index + 1;
  }

  static long wide(int h) {
    return ((long) h << 32) | (h * 0x85ebca6bL & 0xffffffffL);
  }

  static String text(int h) {
    StringBuilder out = new StringBuilder();
    int length = Integer.remainderUnsigned(h, 23) == 0 ? 150 : 3 + Integer.remainderUnsigned(h, 11);
    for (int i = 0; i < length; i++) out.append((char) ('a' + Integer.remainderUnsigned(h + i * 7, 26)));
    return out.toString();
  }

  static byte[] bytes(int h) {
    byte[] out = new byte[Integer.remainderUnsigned(h, 11) == 0 ? 150 : 1 + Integer.remainderUnsigned(h, 20)];
    for (int i = 0; i < out.length; i++) out[i] = (byte) (h + i * 13);
    return out;
  }

  static Uuid uuid(int h) {
    return new Uuid(wide(h), wide(h + 1));
  }

  static Method setter(Object target, String field) {
    String wanted = "set" + field.replace("_", "");
    for (Method m : target.getClass().getMethods()) {
      if (m.getName().equalsIgnoreCase(wanted) && m.getParameterCount() == 1) return m;
    }
    throw new IllegalStateException(target.getClass() + " has no " + wanted);
  }

  // A Schema does not say whether it is nullable; every nullable struct is null unless set.
  static boolean isNull(Object target, String field) throws Exception {
    for (Method m : target.getClass().getMethods()) {
      if (m.getName().equalsIgnoreCase(field.replace("_", "")) && m.getParameterCount() == 0) {
        return m.invoke(target) == null;
      }
    }
    throw new IllegalStateException(target.getClass() + " has no " + field);
  }

  // The Java type that a field or an array element takes decides between bytes and ByteBuffer.
  Object scalar(Type type, int h, Class<?> wanted) {
    String name = type.toString().replace("COMPACT_", "").replace("NULLABLE_", "");
    switch (name) {
      case "BOOLEAN": return (h & 1) == 1;
      case "INT8": return (byte) h;
      case "INT16": return (short) h;
      case "UINT16": return h & 0xffff;
      case "INT32": return h;
      case "UINT32": return h & 0xffffffffL;
      case "INT64": return wide(h);
      case "FLOAT64": return h / 8.0;
      case "UUID": return uuid(h);
      case "STRING": return text(h);
      case "BYTES":
        return wanted == ByteBuffer.class ? ByteBuffer.wrap(bytes(h)) : bytes(h);
      case "RECORDS": return MemoryRecords.readableRecords(ByteBuffer.wrap(bytes(h)));
      default: throw new IllegalStateException("type " + type);
    }
  }

  static Class<?> elementClass(Method setter) {
    if (setter.getGenericParameterTypes()[0] instanceof ParameterizedType) {
      return (Class<?>) ((ParameterizedType) setter.getGenericParameterTypes()[0]).getActualTypeArguments()[0];
    }
    Class<?> collection = setter.getParameterTypes()[0];
    return (Class<?>) ((ParameterizedType) collection.getGenericSuperclass()).getActualTypeArguments()[0];
  }

  @SuppressWarnings("unchecked")
  void set(Object target, String field, Type type, int path) throws Exception {
    Method setter = setter(target, field);
    if (nulls && (type.isNullable() || (type instanceof Schema && isNull(target, field)))) {
      setter.invoke(target, new Object[] {null});
      return;
    }
    Class<?> wanted = setter.getParameterTypes()[0];
    if (type.isArray()) {
      Collection<Object> out = wanted.isInterface()
          ? new ArrayList<>() : (Collection<Object>) wanted.getDeclaredConstructor().newInstance();
      Class<?> element = elementClass(setter);
      Type elementType = type.arrayElementType().get();
      for (int i = 0; i < 2; i++) {
        if (elementType instanceof Schema) {
          Object value = element.getDeclaredConstructor().newInstance();
          fill(value, (Schema) elementType, child(path, i));
          out.add(value);
        } else {
          out.add(scalar(elementType, mix(field, child(path, i)), element));
        }
      }
      setter.invoke(target, out);
    } else if (type instanceof Schema) {
      Object value = wanted.getDeclaredConstructor().newInstance();
      fill(value, (Schema) type, path);
      setter.invoke(target, value);
    } else {
      setter.invoke(target, scalar(type, mix(field, path), wanted));
    }
  }

  void fill(Object target, Schema schema, int path) throws Exception {
    for (BoundField bound : schema.fields()) {
      if (bound.def.type instanceof TaggedFields) {
        for (Field field : ((TaggedFields) bound.def.type).fields().values()) {
          set(target, field.name, field.type, path);
        }
      } else {
        set(target, bound.def.name, bound.def.type, path);
      }
    }
  }

  static String encode(ApiMessage message, short version) {
    ByteBufferAccessor buffer = MessageUtil.toByteBufferAccessor(message, version);
    StringBuilder out = new StringBuilder();
    for (ByteBuffer b = buffer.buffer(); b.hasRemaining(); ) out.append(String.format("%02x", b.get()));
    return out.toString();
  }

  public static void main(String[] args) throws Exception {
    Path schema = Path.of(args[0]);
    try (PrintStream out = new PrintStream(args[1], StandardCharsets.US_ASCII)) {
      for (String line : Files.readAllLines(schema)) {
        String[] words = line.split(" ");
        if (line.startsWith("#") || line.startsWith(" ") || words.length < 5) continue;
        boolean data = words[1].equals("data");
        Class<?> type = Class.forName("org.apache.kafka.common.message." + words[0] + (data ? "" : "Data"));
        Schema[] schemas = (Schema[]) type.getField("SCHEMAS").get(null);
        short lowest = type.getField("LOWEST_SUPPORTED_VERSION").getShort(null);
        short highest = type.getField("HIGHEST_SUPPORTED_VERSION").getShort(null);
        for (short version = lowest; version <= highest; version++) {
          String full = "";
          for (String variant : List.of("full", "nulls", "default")) {
            ApiMessage message = (ApiMessage) type.getDeclaredConstructor().newInstance();
            if (!variant.equals("default")) {
              new GoldenGenerator(variant.equals("nulls")).fill(message, schemas[version], 0);
            }
            try {
              String hex = encode(message, version);
              if (variant.equals("full")) full = hex;
              if (variant.equals("nulls") && hex.equals(full)) continue;
              out.println(words[0] + " " + version + " " + variant + " " + hex);
            } catch (NullPointerException notNullable) {
              // Records are null unless set, and their Type nullable, in a version without null too.
              if (variant.equals("full")) throw notNullable;
            }
          }
        }
      }
    }
  }
}
