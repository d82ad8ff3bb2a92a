//! Members of consumer groups by their handles, and what the crate says of groups.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};
use serde_json::{json, Value};

use crate::{failure, number, record_of, text, Answer, Failure, DEADLINE};

#[derive(Default)]
struct Partitions {
    owned: BTreeSet<i32>,
    revoked: Vec<i32>, // since the last poll
}

#[derive(Clone, Default)]
struct Listener(Arc<Mutex<Partitions>>);

impl ClientContext for Listener {}

impl ConsumerContext for Listener {
    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let mut partitions = self.0.lock().unwrap();
        match rebalance {
            Rebalance::Assign(list) => {
                partitions.owned.extend(list.elements().iter().map(|one| one.partition()));
            }
            Rebalance::Revoke(list) => {
                for one in list.elements() {
                    partitions.owned.remove(&one.partition());
                    partitions.revoked.push(one.partition());
                }
            }
            Rebalance::Error(_) => {}
        }
    }
}

struct Member {
    topic: String,
    listener: Listener,
    consumer: BaseConsumer<Listener>,
}

impl Member {
    fn open(request: &Value) -> Result<Member, Failure> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", text(request, "brokers"))
            .set("group.id", text(request, "group"))
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("fetch.wait.max.ms", "50")
            .set("check.crcs", "true")
            .set("group.protocol", text(request, "protocol"));
        if text(request, "protocol") == "classic" {
            config
                .set("partition.assignment.strategy", text(request, "assignor"))
                .set("session.timeout.ms", number(request, "session_timeout_ms").to_string())
                .set("heartbeat.interval.ms", "300");
        }
        if let Some(id) = request["instance_id"].as_str() {
            config.set("group.instance.id", id);
        }
        let listener = Listener::default();
        let consumer: BaseConsumer<Listener> = config.create_with_context(listener.clone())?;
        consumer.subscribe(&[text(request, "topic")])?;
        Ok(Member { topic: text(request, "topic").to_string(), listener, consumer })
    }

    fn poll(&self, ms: i64) -> Answer {
        let mut records = Vec::new();
        let mut wait = Duration::from_millis(ms as u64);
        while let Some(outcome) = self.consumer.poll(wait) {
            match outcome {
                Ok(message) => {
                    records.push(record_of(&message));
                    wait = Duration::ZERO;
                }
                Err(error) => {
                    let failed = Failure::from(error);
                    if failed.0.unwrap_or(-1) > 0 {
                        return Err(failed); // negative: the library mends it
                    }
                }
            }
        }
        let mut partitions = self.listener.0.lock().unwrap();
        let revoked = std::mem::take(&mut partitions.revoked);
        Ok(json!({"records": records, "owned": partitions.owned, "revoked": revoked}))
    }

    fn commit(&self, offsets: &Value) -> Answer {
        let mut list = TopicPartitionList::new();
        for one in offsets.as_array().into_iter().flatten() {
            let (partition, offset) = (one[0].as_i64().unwrap() as i32, one[1].as_i64().unwrap());
            list.add_partition_offset(&self.topic, partition, Offset::Offset(offset))?;
        }
        self.consumer.commit(&list, CommitMode::Sync)?;
        Ok(json!({}))
    }
}

#[derive(Default)]
pub struct Groups {
    members: HashMap<String, Member>,
}

impl Groups {
    pub fn handle(&mut self, op: &str, request: &Value) -> Option<Answer> {
        let handle = text(request, "handle");
        Some(match op {
            "group_open" => Member::open(request).map(|member| {
                self.members.insert(handle.to_string(), member);
                json!({})
            }),
            "group_poll" => self.members[handle].poll(number(request, "ms")),
            "group_commit" => self.members[handle].commit(&request["offsets"]),
            "group_close" => {
                self.members.remove(handle); // it leaves as it is dropped
                Ok(json!({"records": []}))
            }
            "group_offsets" => committed(request),
            _ => return None,
        })
    }
}

/// A consumer that names the group, and is no member of it, may ask for what is committed.
fn committed(request: &Value) -> Answer {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", text(request, "brokers"))
        .set("group.id", text(request, "group"))
        .create()?;
    let topic = text(request, "topic");
    let metadata = consumer.fetch_metadata(Some(topic), DEADLINE)?;
    let mut wanted = TopicPartitionList::new();
    for one in metadata.topics()[0].partitions() {
        wanted.add_partition(topic, one.id());
    }
    let mut offsets = Vec::new();
    for one in consumer.committed_offsets(wanted, DEADLINE)?.elements() {
        if let Offset::Offset(offset) = one.offset() {
            offsets.push(json!([one.partition(), offset, null]));
        }
    }
    Ok(json!({ "offsets": offsets }))
}

/// The partitions in the bytes of an assignment: a version, then topics with their partitions.
fn partitions_of(assignment: &[u8]) -> Option<Vec<i32>> {
    let mut position = 2;
    let mut next = |bytes: usize| {
        let field = assignment.get(position..position + bytes)?;
        position += bytes;
        Some(field)
    };
    let mut partitions = Vec::new();
    let topics = i32::from_be_bytes(next(4)?.try_into().ok()?);
    for _ in 0..topics {
        let name_bytes = u16::from_be_bytes(next(2)?.try_into().ok()?);
        next(name_bytes as usize)?;
        let count = i32::from_be_bytes(next(4)?.try_into().ok()?);
        for _ in 0..count {
            partitions.push(i32::from_be_bytes(next(4)?.try_into().ok()?));
        }
    }
    Some(partitions)
}

type Admin = AdminClient<DefaultClientContext>;

pub fn of_admin(op: &str, admin: &Admin, request: &Value) -> Option<Answer> {
    let group = text(request, "group");
    Some(match op {
        "group_list" => list(admin),
        "group_describe" => describe(admin, group),
        "group_delete" => delete(admin, group),
        _ => return None,
    })
}

fn list(admin: &Admin) -> Answer {
    let found = admin.inner().fetch_group_list(None, DEADLINE)?;
    let names: Vec<&str> = found.groups().iter().map(|one| one.name()).collect();
    Ok(json!({ "groups": names }))
}

fn describe(admin: &Admin, group: &str) -> Answer {
    let found = admin.inner().fetch_group_list(Some(group), DEADLINE)?;
    let one = found.groups().first().ok_or(failure("no such group"))?;
    let mut members = Vec::new();
    for member in one.members() {
        let assignment = member.assignment().unwrap_or_default();
        members.push(partitions_of(assignment).ok_or(failure("an assignment that ends early"))?);
    }
    Ok(json!({"state": one.state(), "members": members}))
}

fn delete(admin: &Admin, group: &str) -> Answer {
    for one in block_on(admin.delete_groups(&[group], &AdminOptions::new()))? {
        one.map_err(|(_, code)| Failure::from(code))?;
    }
    Ok(json!({}))
}
