// Consumers of KafkaJS, which are members of groups, and what its Admin says of groups.
'use strict';

const {AssignerProtocol} = require('kafkajs');

const DEADLINE_MS = 60000;
const encode = (data) => (data === null || data === undefined ? null : data.toString('base64'));

function recordOf(partition, message) {
  const headers = [];
  for (const [name, values] of Object.entries(message.headers || {})) {
    for (const value of [].concat(values)) headers.push([name, encode(value)]);
  }
  return {p: partition, o: Number(message.offset), t: Number(message.timestamp),
    k: encode(message.key), v: encode(message.value), h: headers};
}

// A member gives records to `onRecord`, one after the other.
class Member {
  constructor(kafka, settings, topic, onRecord) {
    this.topic = topic;
    this.owned = [];
    this.revoked = [];
    this.onRecord = onRecord;
    this.consumer = kafka.consumer({heartbeatInterval: 300, maxWaitTimeInMs: 50, ...settings});
    const {GROUP_JOIN, REBALANCING} = this.consumer.events;
    this.consumer.on(REBALANCING, () => this.giveUp());
    this.consumer.on(GROUP_JOIN, ({payload}) => {
      this.owned = payload.memberAssignment[topic] || [];
    });
  }

  // Its protocol is the eager one: a rebalance begins with nothing.
  giveUp() {
    this.revoked.push(...this.owned);
    this.owned = [];
  }

  async start() {
    await this.consumer.connect();
    await this.consumer.subscribe({topics: [this.topic], fromBeginning: true});
    await this.consumer.run({autoCommit: false, eachMessage: async ({partition, message}) =>
      this.onRecord(recordOf(partition, message))});
  }

  async commit(offsets) {
    await this.consumer.commitOffsets(offsets.map(([partition, offset]) =>
      ({topic: this.topic, partition, offset: String(offset)})));
  }

  async close() {
    await this.consumer.disconnect();
  }
}

// What has come and is not told yet; take() waits for the first of it.
class Inbox {
  constructor() {
    this.records = [];
    this.wake = () => {};
  }

  add(record) {
    this.records.push(record);
    this.wake();
  }

  async take(ms) {
    if (this.records.length === 0) {
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, ms);
        this.wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return this.records.splice(0);
  }
}

// A group of its own, whose member reads from the topic's start, again so when it has lost its broker:
// `next` has what is still wanted of each partition.
async function consume(kafka, request) {
  const inbox = new Inbox();
  const ranges = request.ranges.filter(([, first, end]) => first < end);
  const next = new Map(ranges.map(([partition, first]) => [partition, first]));
  const ends = new Map(ranges.map(([partition, , end]) => [partition, end]));
  const settings = {groupId: `consume-${request.topic}-${process.pid}-${Date.now()}`};
  if (request.fetch_max_bytes) {
    settings.maxBytes = request.fetch_max_bytes;
    settings.maxBytesPerPartition = request.partition_max_bytes;
  }
  const member = new Member(kafka, settings, request.topic, (record) => {
    if (record.o !== next.get(record.p) || record.o >= ends.get(record.p)) return;
    next.set(record.p, record.o + 1);
    inbox.add(record);
  });
  const found = [];
  try {
    await member.start();
    const isMissing = () => [...ends].some(([partition, end]) => next.get(partition) < end);
    while (inbox.records.length > 0 || isMissing()) {
      const records = await inbox.take(DEADLINE_MS);
      if (records.length === 0) throw new Error('no record in time');
      for (const one of records) found.push(one);
    }
  } finally {
    await member.close();
  }
  return {records: found};
}

const members = new Map(); // by their handles: {member, inbox}

const ofMembers = {
  group_open: async (kafka, request) => {
    const inbox = new Inbox();
    const member = new Member(kafka, {groupId: request.group, sessionTimeout: request.session_timeout_ms},
        request.topic, (record) => inbox.add(record));
    members.set(request.handle, {member, inbox});
    await member.start();
    return {};
  },
  group_poll: async (kafka, request) => {
    const {member, inbox} = members.get(request.handle);
    const records = await inbox.take(request.ms);
    return {records, owned: [...member.owned].sort(), revoked: member.revoked.splice(0)};
  },
  group_commit: async (kafka, request) => {
    await members.get(request.handle).member.commit(request.offsets);
    return {};
  },
  group_close: async (kafka, request) => {
    const {member, inbox} = members.get(request.handle);
    members.delete(request.handle);
    await member.close();
    return {records: inbox.records};
  },
};

function partitionsOf(member) {
  const {assignment} = AssignerProtocol.MemberAssignment.decode(member.memberAssignment);
  return Object.values(assignment).flat();
}

const ofAdmin = {
  group_list: async (admin) => ({groups: (await admin.listGroups()).groups.map((one) => one.groupId)}),
  group_describe: async (admin, request) => {
    const {groups: [one]} = await admin.describeGroups([request.group]);
    return {state: one.state, members: one.members.map(partitionsOf)};
  },
  group_offsets: async (admin, request) => {
    const [one] = await admin.fetchOffsets({groupId: request.group, topics: [request.topic]});
    return {offsets: one.partitions.filter((each) => each.offset !== '-1')
        .map((each) => [each.partition, Number(each.offset), null])};
  },
  group_set_offsets: async (admin, request) => {
    await admin.setOffsets({groupId: request.group, topic: request.topic,
      partitions: request.offsets.map(([partition, offset]) => ({partition, offset: String(offset)}))});
    return {};
  },
  group_delete: async (admin, request) => {
    await admin.deleteGroups([request.group]);
    return {};
  },
};

module.exports = {consume, ofMembers, ofAdmin};
