//! Rust's rdkafka as a driver: JSON lines in, JSON lines out (../../README.md).

mod groups;

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use futures_executor::block_on;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{
    BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext,
};
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};
use serde_json::{json, Map, Value};

const DEADLINE: Duration = Duration::from_secs(60);

/// An answer that is an error: Kafka's number where there is one, and words.
struct Failure(Option<i32>, String);

impl From<KafkaError> for Failure {
    fn from(error: KafkaError) -> Self {
        let code = match &error {
            KafkaError::AdminOp(code) => Some(*code),
            other => other.rdkafka_error_code(),
        };
        Failure(code.map(|one| one as i32), error.to_string())
    }
}

impl From<RDKafkaErrorCode> for Failure {
    fn from(code: RDKafkaErrorCode) -> Self {
        Failure(Some(code as i32), code.to_string())
    }
}

fn failure(text: &str) -> Failure {
    Failure(None, text.to_string())
}

type Answer = Result<Value, Failure>;

fn text<'a>(request: &'a Value, name: &str) -> &'a str {
    request[name].as_str().unwrap_or_default()
}

fn number(request: &Value, name: &str) -> i64 {
    request[name].as_i64().unwrap_or_default()
}

fn decode(value: &Value) -> Option<Vec<u8>> {
    value.as_str().and_then(|one| STANDARD.decode(one).ok())
}

fn encode(data: Option<&[u8]>) -> Value {
    data.map_or(Value::Null, |one| Value::String(STANDARD.encode(one)))
}

/// What became of each record of a `produce`, by its number.
#[derive(Default)]
struct Deliveries {
    outcomes: Mutex<Vec<Option<Result<i64, KafkaError>>>>,
}

#[derive(Clone, Default)]
struct Context(Arc<Deliveries>);

impl ClientContext for Context {}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<usize>;

    fn delivery(&self, result: &DeliveryResult<'_>, number: Box<usize>) {
        let outcome = match result {
            Ok(message) => Ok(message.offset()),
            Err((error, _)) => Err(error.clone()),
        };
        self.0.outcomes.lock().unwrap()[*number] = Some(outcome);
    }
}

struct Driver {
    producers: HashMap<String, (BaseProducer<Context>, Context)>,
    admins: HashMap<String, AdminClient<DefaultClientContext>>,
    groups: groups::Groups,
}

fn headers_of(record: &Value) -> OwnedHeaders {
    let mut headers = OwnedHeaders::new();
    for header in record["h"].as_array().into_iter().flatten() {
        let value = decode(&header[1]);
        headers = headers.insert(Header {
            key: header[0].as_str().unwrap_or_default(),
            value: value.as_ref(),
        });
    }
    headers
}

fn record_of(message: &BorrowedMessage<'_>) -> Value {
    let mut headers = Vec::new();
    if let Some(found) = message.headers() {
        for header in found.iter() {
            headers.push(json!([header.key, encode(header.value)]));
        }
    }
    json!({"p": message.partition(), "o": message.offset(), "t": message.timestamp().to_millis(),
           "k": encode(message.key()), "v": encode(message.payload()), "h": headers})
}

fn consume(request: &Value) -> Answer {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", text(request, "brokers"))
        .set("group.id", "none")
        .set("enable.auto.commit", "false")
        .set("check.crcs", "true")
        .set("fetch.wait.max.ms", "50");
    if request.get("fetch_max_bytes").is_some() {
        let limit = number(request, "fetch_max_bytes").to_string();
        config.set("fetch.max.bytes", &limit).set("message.max.bytes", &limit);
        config.set("max.partition.fetch.bytes", number(request, "partition_max_bytes").to_string());
    }
    let consumer: BaseConsumer = config.create()?;
    let mut list = TopicPartitionList::new();
    let mut ends = HashMap::new();
    for range in request["ranges"].as_array().into_iter().flatten() {
        let (partition, first, end) =
            (range[0].as_i64().unwrap() as i32, range[1].as_i64().unwrap(), range[2].as_i64().unwrap());
        if first < end {
            list.add_partition_offset(text(request, "topic"), partition, Offset::Offset(first))?;
            ends.insert(partition, end);
        }
    }
    consumer.assign(&list)?;
    let mut found = Vec::new();
    while !ends.is_empty() {
        match consumer.poll(DEADLINE) {
            None => return Err(failure("no record in time")),
            Some(Err(error)) => {
                // Negative: it connects again. 30 is about the group, which is only named.
                let code = Failure::from(error.clone()).0.unwrap_or(-1);
                if code > 0 && code != 30 {
                    return Err(error.into());
                }
            }
            Some(Ok(message)) => {
                let end = ends.get(&message.partition()).copied().unwrap_or(0);
                if message.offset() < end {
                    found.push(record_of(&message));
                    if message.offset() + 1 == end {
                        ends.remove(&message.partition());
                    }
                }
            }
        }
    }
    Ok(json!({ "records": found }))
}

fn settings(node: &Value) -> Vec<(&str, &str)> {
    let entries = node.as_object().into_iter().flatten();
    entries.map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default())).collect()
}

impl Driver {
    fn producer(&mut self, request: &Value) -> Result<(&BaseProducer<Context>, Context), Failure> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", text(request, "brokers"))
            .set("compression.type", text(request, "codec"))
            .set("acks", text(request, "acks"))
            .set("enable.idempotence", request["idempotent"].to_string())
            .set("linger.ms", "5")
            .set("message.timeout.ms", "60000");
        if request.get("batch_bytes").is_some() {
            config.set("batch.size", number(request, "batch_bytes").to_string());
        }
        if request.get("request_max_bytes").is_some() {
            config.set("message.max.bytes", number(request, "request_max_bytes").to_string());
        }
        let mut key: Vec<String> =
            config.config_map().iter().map(|(name, value)| format!("{name}={value}")).collect();
        key.sort();
        let key = key.join(",");
        if !self.producers.contains_key(&key) {
            let context = Context::default();
            let producer = config.create_with_context(context.clone())?;
            self.producers.insert(key.clone(), (producer, context));
        }
        let (producer, context) = &self.producers[&key];
        Ok((producer, context.clone()))
    }

    fn produce(&mut self, request: &Value) -> Answer {
        let (producer, context) = self.producer(request)?;
        let records = request["records"].as_array().ok_or(failure("records"))?;
        *context.0.outcomes.lock().unwrap() = vec![None; records.len()];
        for (i, one) in records.iter().enumerate() {
            let (key, value) = (decode(&one["k"]), decode(&one["v"]));
            let mut record = BaseRecord::with_opaque_to(text(request, "topic"), Box::new(i));
            record.partition = one["p"].as_i64().map(|partition| partition as i32);
            record.timestamp = one["t"].as_i64();
            record.key = key.as_deref();
            record.payload = value.as_deref();
            record.headers = Some(headers_of(one));
            loop {
                match producer.send(record) {
                    Ok(()) => break,
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                        record = back;
                        producer.poll(Duration::from_millis(100));
                    }
                    Err((error, _)) => return Err(error.into()),
                }
            }
            producer.poll(Duration::ZERO);
        }
        producer.flush(DEADLINE)?;
        let mut offsets = Vec::new();
        for outcome in context.0.outcomes.lock().unwrap().iter() {
            match outcome {
                Some(Ok(offset)) => offsets.push(*offset),
                Some(Err(error)) => return Err(error.clone().into()),
                None => return Err(failure("a record without a report")),
            }
        }
        let told = text(request, "acks") != "0";
        Ok(json!({"offsets": if told { json!(offsets) } else { Value::Null }}))
    }

    fn admin(&mut self, request: &Value) -> Result<&AdminClient<DefaultClientContext>, Failure> {
        let brokers = text(request, "brokers");
        if !self.admins.contains_key(brokers) {
            let admin = ClientConfig::new().set("bootstrap.servers", brokers).create()?;
            self.admins.insert(brokers.to_string(), admin);
        }
        Ok(&self.admins[brokers])
    }

    fn offsets(&mut self, request: &Value) -> Answer {
        let (topic, partition) = (text(request, "topic"), number(request, "partition") as i32);
        if let Some(place) = request["at"].as_str() {
            let (low, high) = self.admin(request)?.inner().fetch_watermarks(topic, partition, DEADLINE)?;
            return Ok(json!({"offset": if place == "earliest" { low } else { high }}));
        }
        let consumer: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", text(request, "brokers")).create()?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(number(request, "at")))?;
        let found = consumer.offsets_for_times(list, DEADLINE)?;
        match found.elements()[0].offset() {
            Offset::Offset(offset) => Ok(json!({ "offset": offset })),
            _ => Ok(json!({"offset": -1})),
        }
    }

    fn topics(&mut self, op: &str, request: &Value) -> Answer {
        let topic = text(request, "topic");
        let options = AdminOptions::new().request_timeout(Some(DEADLINE));
        let admin = self.admin(request)?;
        let outcome = match op {
            "create_topic" => {
                let mut wanted =
                    NewTopic::new(topic, number(request, "partitions") as i32, TopicReplication::Fixed(1));
                for (name, value) in settings(&request["configs"]) {
                    wanted = wanted.set(name, value);
                }
                block_on(admin.create_topics(&[wanted], &options))?
            }
            "delete_topic" => block_on(admin.delete_topics(&[topic], &options))?,
            _ => {
                let wanted = NewPartitions::new(topic, number(request, "total") as usize);
                block_on(admin.create_partitions(&[wanted], &options))?
            }
        };
        match outcome.into_iter().next() {
            Some(Ok(_)) => Ok(json!({})),
            Some(Err((name, code))) => Err(Failure(Some(code as i32), format!("{name}: {code}"))),
            None => Err(failure("no result")),
        }
    }

    fn delete_records(&mut self, request: &Value) -> Answer {
        let mut list = TopicPartitionList::new();
        let before = Offset::Offset(number(request, "before"));
        list.add_partition_offset(text(request, "topic"), number(request, "partition") as i32, before)?;
        let found = block_on(self.admin(request)?.delete_records(&list, &AdminOptions::new()))?;
        found.elements()[0].error()?;
        match found.elements()[0].offset() {
            Offset::Offset(low) => Ok(json!({ "low": low })),
            other => Err(failure(&format!("{other:?}"))),
        }
    }

    fn list_topics(&mut self, request: &Value) -> Answer {
        let metadata = self.admin(request)?.inner().fetch_metadata(None, DEADLINE)?;
        let names: Vec<&str> = metadata.topics().iter().map(|one| one.name()).collect();
        Ok(json!({ "topics": names }))
    }

    fn partitions(&mut self, request: &Value) -> Answer {
        let topic = text(request, "topic");
        let metadata = self.admin(request)?.inner().fetch_metadata(Some(topic), DEADLINE)?;
        Ok(json!({"partitions": metadata.topics()[0].partitions().len()}))
    }

    fn describe_config(&mut self, request: &Value) -> Answer {
        let wanted = [ResourceSpecifier::Topic(text(request, "topic"))];
        let found = block_on(self.admin(request)?.describe_configs(&wanted, &AdminOptions::new()))?;
        let mut configs = Map::new();
        for resource in found {
            for entry in resource?.entries {
                configs.insert(entry.name, json!(entry.value));
            }
        }
        Ok(json!({ "configs": configs }))
    }

    fn alter_config(&mut self, request: &Value) -> Answer {
        let mut wanted = AlterConfig::new(ResourceSpecifier::Topic(text(request, "topic")));
        for (name, value) in settings(&request["configs"]) {
            wanted = wanted.set(name, value);
        }
        for one in block_on(self.admin(request)?.alter_configs(&[wanted], &AdminOptions::new()))? {
            one.map_err(|(_, code)| Failure::from(code))?;
        }
        Ok(json!({}))
    }

    fn handle(&mut self, op: &str, request: &Value) -> Option<Answer> {
        Some(match op {
            "hello" => Ok(json!({"version": format!("{} (librdkafka {})", "0.39.0",
                                                    rdkafka::util::get_rdkafka_version().1)})),
            "produce" => self.produce(request),
            "consume" => consume(request),
            "offsets" => self.offsets(request),
            "list_topics" => self.list_topics(request),
            "partitions" => self.partitions(request),
            "create_topic" | "delete_topic" | "add_partitions" => self.topics(op, request),
            "delete_records" => self.delete_records(request),
            "describe_config" => self.describe_config(request),
            "alter_config" => self.alter_config(request),
            "group_list" | "group_describe" | "group_delete" => match self.admin(request) {
                Ok(admin) => return groups::of_admin(op, admin, request),
                Err(failed) => Err(failed),
            },
            _ => return self.groups.handle(op, request),
        })
    }
}

fn main() {
    let mut driver = Driver {
        producers: HashMap::new(),
        admins: HashMap::new(),
        groups: groups::Groups::default(),
    };
    let mut out = std::io::stdout();
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let answer = match serde_json::from_str::<Value>(&line) {
            Err(error) => json!({"error": {"code": null, "message": error.to_string()}}),
            Ok(request) => match driver.handle(text(&request, "op"), &request) {
                None => json!({"unsupported": request["op"]}),
                Some(Ok(result)) => json!({ "ok": result }),
                Some(Err(Failure(code, message))) => {
                    json!({"error": {"code": code, "message": message}})
                }
            },
        };
        if writeln!(out, "{answer}").and_then(|()| out.flush()).is_err() {
            return;
        }
    }
}
