// KafkaJS as a driver: JSON lines in, JSON lines out (../../README.md).
'use strict';

const readline = require('readline');
const {CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, logLevel} = require('kafkajs');
const lz4 = require('lz4-napi');
const {ZstdCodec} = require('zstd-codec');
const groups = require('./groups');

// KafkaJS has gzip; the others are registered as its documentation shows ("Compression", "Other").
CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy');
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async (encoder) => lz4.compressFrame(encoder.buffer),
  decompress: async (buffer) => lz4.decompressFrame(buffer),
});
const zstd = new Promise((resolve) => ZstdCodec.run(resolve));
const zstdWith = async (kind) => new ((await zstd)[kind])();
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async (encoder) => Buffer.from((await zstdWith('Simple')).compress(encoder.buffer)),
  // Streaming, since frames need not tell how long their content is.
  decompress: async (buffer) => Buffer.from((await zstdWith('Streaming')).decompress(buffer)),
});
const CODECS = {
  none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4, zstd: CompressionTypes.ZSTD,
};

const decode = (text) => (text === null ? null : Buffer.from(text, 'base64'));

const producers = new Map();
const admins = new Map();

// Producers go on for as long as a restart takes; admin calls are told their errors soon.
function kafka(request, retries) {
  return new Kafka({
    brokers: [request.brokers], logLevel: logLevel.ERROR, logCreator: () => (entry) =>
      process.stderr.write(`${entry.log.message} ${entry.log.error || ''}\n`),
    retry: {initialRetryTime: 100, maxRetryTime: 1000, retries},
  });
}

async function kept(map, key, make) {
  if (!map.has(key)) {
    const client = make();
    await client.connect();
    map.set(key, client);
  }
  return map.get(key);
}

// Of [name, value] pairs: one name may have several values.
function headersOf(pairs) {
  const headers = {};
  for (const [name, value] of pairs) {
    if (name in headers) headers[name] = [].concat(headers[name], [decode(value)]);
    else headers[name] = decode(value);
  }
  return headers;
}

// KafkaJS makes one batch for each partition of a send, whatever its size. So sends are kept below
// the bytes that a batch may have, and below batch_bytes where that is asked for.
function batchesOf(request) {
  const limit = request.batch_bytes || request.request_max_bytes / 2 || 500000;
  const batches = [];
  let left = 0;
  for (const one of request.records) {
    const bytes = 100 + (one.v || '').length * 0.75;
    if (left < bytes || batches.length === 0) {
      batches.push([]);
      left = limit;
    }
    batches[batches.length - 1].push(one);
    left -= bytes;
  }
  return batches;
}

async function produce(request) {
  const settings = JSON.stringify([request.brokers, request.idempotent]);
  const producer = await kept(producers, settings, () => kafka(request, 60).producer({
    idempotent: request.idempotent, maxInFlightRequests: 1, allowAutoTopicCreation: false}));
  const next = new Map();
  const offsets = [];
  for (const batch of batchesOf(request)) {
    const answers = await producer.send({
      topic: request.topic, acks: {0: 0, 1: 1, all: -1}[request.acks], compression: CODECS[request.codec],
      messages: batch.map((one) => ({
        partition: one.p, key: decode(one.k), value: decode(one.v), headers: headersOf(one.h),
        ...(one.t === null ? {} : {timestamp: String(one.t)})})),
    });
    for (const one of answers || []) next.set(one.partition, Number(one.baseOffset));
    for (const one of batch) {
      offsets.push(next.get(one.p));
      next.set(one.p, next.get(one.p) + 1);
    }
  }
  return {offsets: request.acks === '0' ? null : offsets};
}

async function adminOf(request) {
  return kept(admins, request.brokers, () => kafka(request, 3).admin());
}

const resource = (request, more) =>
  ({type: ConfigResourceTypes.TOPIC, name: request.topic, ...more});

const operations = {
  consume: (request) => groups.consume(kafka(request, 60), request),
  hello: async () => ({version: require('kafkajs/package.json').version}),
  produce,
  offsets: async (request) => {
    const admin = await adminOf(request);
    const pick = (all) => all.find((one) => one.partition === request.partition);
    if (typeof request.at === 'number') {
      return {offset: Number(pick(await admin.fetchTopicOffsetsByTimestamp(request.topic, request.at)).offset)};
    }
    const one = pick(await admin.fetchTopicOffsets(request.topic));
    return {offset: Number(request.at === 'earliest' ? one.low : one.high)};
  },
  list_topics: async (request) => ({topics: await (await adminOf(request)).listTopics()}),
  partitions: async (request) => {
    const {topics} = await (await adminOf(request)).fetchTopicMetadata({topics: [request.topic]});
    return {partitions: topics[0].partitions.length};
  },
  create_topic: async (request) => {
    const made = await (await adminOf(request)).createTopics({topics: [{
      topic: request.topic, numPartitions: request.partitions, replicationFactor: 1,
      configEntries: Object.entries(request.configs).map(([name, value]) => ({name, value}))}]});
    // "resolves to true if the topic was created successfully or false if it already exists"
    if (!made) throw Object.assign(new Error('createTopics answered false'), {code: 36});
    return {};
  },
  delete_topic: async (request) => {
    await (await adminOf(request)).deleteTopics({topics: [request.topic]});
    return {};
  },
  add_partitions: async (request) => {
    await (await adminOf(request)).createPartitions({
      topicPartitions: [{topic: request.topic, count: request.total}]});
    return {};
  },
  delete_records: async (request) => {
    const admin = await adminOf(request);
    await admin.fetchTopicOffsets(request.topic); // or it may not know the topic's leaders yet
    await admin.deleteTopicRecords({topic: request.topic,
      partitions: [{partition: request.partition, offset: String(request.before)}]});
    const [one] = await admin.fetchTopicOffsets(request.topic);
    return {low: Number(one.low)};
  },
  describe_config: async (request) => {
    const {resources} = await (await adminOf(request)).describeConfigs({
      includeSynonyms: false, resources: [resource(request)]});
    return {configs: Object.fromEntries(
        resources[0].configEntries.map((one) => [one.configName, one.configValue]))};
  },
  alter_config: async (request) => {
    await (await adminOf(request)).alterConfigs({validateOnly: false, resources: [resource(request,
        {configEntries: Object.entries(request.configs).map(([name, value]) => ({name, value}))})]});
    return {};
  },
};

for (const [name, operation] of Object.entries(groups.ofMembers)) {
  operations[name] = (request) => operation(kafka(request, 60), request);
}
for (const [name, operation] of Object.entries(groups.ofAdmin)) {
  operations[name] = async (request) => operation(await adminOf(request), request);
}

// Errors are wrapped: the broker's is the innermost, or one of several.
function codeOf(error) {
  const inner = (one) => one.cause || one.originalError || (one.errors || one.groups || [])[0];
  for (let one = error; one; one = inner(one)) {
    if (typeof one.errorCode === 'number') return one.errorCode;
    if (typeof one.code === 'number' && one.code > 0) return one.code;
  }
  return null;
}

async function answer(line) {
  const request = JSON.parse(line);
  const operation = operations[request.op];
  if (!operation) return {unsupported: request.op};
  try {
    return {ok: await operation(request)};
  } catch (error) {
    process.stderr.write(`${error.stack}\n`);
    return {error: {code: codeOf(error), message: String(error)}};
  }
}

async function main() {
  for await (const line of readline.createInterface({input: process.stdin})) {
    process.stdout.write(JSON.stringify(await answer(line)) + '\n');
  }
  process.exit(0);
}

main();
