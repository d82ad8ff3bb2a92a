#include "tests/tools/client/fake_broker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "engine/base/bytes.h"
#include "engine/base/check.h"
#include "engine/base/endian.h"
#include "engine/log/batch.h"
#include "tools/client/clock.h"
#include "tools/client/frame.h"

namespace ringtail::client {
namespace {

int64_t NowMillis() { return Now() / base::kNanosPerMilli; }

int Listen(uint16_t* port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  RT_CHECK(fd >= 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  RT_CHECK(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
  RT_CHECK(listen(fd, 64) == 0);
  socklen_t length = sizeof(address);
  RT_CHECK(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0);
  *port = ntohs(address.sin_port);
  return fd;
}

std::string IdBytes(const base::Uuid& id) { return {id.bytes.begin(), id.bytes.end()}; }

}  // namespace

wire::Error MakeError(wire::Error::Code code, bool retriable, const std::string& message) {
  wire::Error error;
  error.set_code(code);
  error.set_retriable(retriable);
  error.set_message(message);
  return error;
}

FakeBroker::FakeBroker(int cores) : ports_(static_cast<size_t>(cores)) {
  for (uint16_t& port : ports_) listeners_.push_back(Listen(&port));
  listeners_.push_back(Listen(&shared_port_));
  advertised_ = ports_;
  RT_CHECK(pipe2(wake_, O_CLOEXEC | O_NONBLOCK) == 0);
  thread_ = std::thread([this] { Serve(); });
}

FakeBroker::~FakeBroker() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  RT_CHECK(write(wake_[1], "x", 1) == 1);
  thread_.join();
  for (const int fd : listeners_) close(fd);
  for (const auto& connection : connections_) close(connection->fd);
  close(wake_[0]);
  close(wake_[1]);
}

std::string FakeBroker::bootstrap() const { return "127.0.0.1:" + std::to_string(shared_port_); }

void FakeBroker::SetHook(Hook hook) {
  std::lock_guard lock(mutex_);
  hook_ = std::move(hook);
}

void FakeBroker::SetDribble(bool dribble) {
  std::lock_guard lock(mutex_);
  dribble_ = dribble;
}

void FakeBroker::Advertise(int core, uint16_t port) {
  std::lock_guard lock(mutex_);
  advertised_[static_cast<size_t>(core)] = port;
}

void FakeBroker::CreateTopic(const std::string& name, int partitions) {
  std::lock_guard lock(mutex_);
  wire::CreateTopicRequest request;
  request.set_name(name);
  request.set_partitions(static_cast<uint32_t>(partitions));
  wire::CreateTopicResponse response;
  RT_CHECK(Create(request, &response).code() == wire::Error::OK);
}

void FakeBroker::CutConnections() {
  {
    std::lock_guard lock(mutex_);
    cut_ = true;
  }
  RT_CHECK(write(wake_[1], "x", 1) == 1);
}

int FakeBroker::Requests(int core, int kind) {
  std::lock_guard lock(mutex_);
  return counts_[{core, kind}];
}

int FakeBroker::Connections() {
  std::lock_guard lock(mutex_);
  return static_cast<int>(connections_.size());
}

std::string FakeBroker::Log(const std::string& topic, int partition) {
  std::lock_guard lock(mutex_);
  std::string log;
  for (const auto& [offset, bytes] :
       Find(topic, "")->partitions[static_cast<size_t>(partition)].batches) {
    log += bytes;
  }
  return log;
}

int64_t FakeBroker::End(const std::string& topic, int partition) {
  std::lock_guard lock(mutex_);
  return Find(topic, "")->partitions[static_cast<size_t>(partition)].end;
}

void FakeBroker::Serve() {
  while (true) {
    std::vector<pollfd> fds;
    fds.push_back({wake_[0], POLLIN, 0});
    for (const int fd : listeners_) fds.push_back({fd, POLLIN, 0});
    int timeout = -1;
    {
      std::lock_guard lock(mutex_);
      for (const auto& connection : connections_) {
        const bool writes = !connection->out.empty() && !connection->mute;
        fds.push_back({connection->fd, static_cast<short>(POLLIN | (writes ? POLLOUT : 0)), 0});
        if (!connection->fetch_waits) continue;
        const int64_t left = std::max<int64_t>(0, connection->fetch_deadline_ms - NowMillis());
        timeout = timeout < 0 ? static_cast<int>(left) : std::min(timeout, static_cast<int>(left));
      }
    }
    poll(fds.data(), fds.size(), timeout);
    std::lock_guard lock(mutex_);
    char drain[64];
    while (read(wake_[0], drain, sizeof(drain)) > 0) {
    }
    if (stop_) return;
    const size_t first = 1 + listeners_.size();
    const size_t count = fds.size() - first;
    for (size_t i = 0; i < count; ++i) {
      Connection* connection = connections_[i].get();
      if (cut_) connection->closing = true;
      if (fds[first + i].revents & (POLLIN | POLLHUP | POLLERR)) Read(connection);
      if (fds[first + i].revents & POLLOUT) Write(connection);
    }
    cut_ = false;
    for (size_t i = 0; i < listeners_.size(); ++i) {
      const int core = i + 1 == listeners_.size() ? -1 : static_cast<int>(i);
      if (fds[1 + i].revents & POLLIN) Accept(listeners_[i], core);
    }
    for (const auto& connection : connections_) {
      if (connection->fetch_waits) {
        RetryFetch(connection.get(), connection->fetch_deadline_ms <= NowMillis());
      }
    }
    std::erase_if(connections_, [](const std::unique_ptr<Connection>& connection) {
      if (connection->closing) close(connection->fd);
      return connection->closing;
    });
  }
}

void FakeBroker::Accept(int listener, int core) {
  const int fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) return;
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  auto connection = std::make_unique<Connection>();
  connection->fd = fd;
  connection->core = core;
  connections_.push_back(std::move(connection));
}

void FakeBroker::Read(Connection* connection) {
  char bytes[64 << 10];
  ssize_t got;
  while ((got = recv(connection->fd, bytes, sizeof(bytes), 0)) > 0) {
    connection->in.append(bytes, static_cast<size_t>(got));
  }
  const bool ended = got == 0 || (got < 0 && errno != EAGAIN);
  // What came before the end still counts: a producer without acks sends and goes.
  Parse(connection);
  connection->closing = connection->closing || ended;
}

void FakeBroker::Write(Connection* connection) {
  while (!connection->out.empty() && !connection->mute) {
    const size_t size = dribble_ ? 1 : connection->out.size();
    const ssize_t sent = send(connection->fd, connection->out.data(), size, MSG_NOSIGNAL);
    if (sent <= 0) return;
    connection->out.erase(0, static_cast<size_t>(sent));
  }
}

void FakeBroker::Parse(Connection* connection) {
  // Replies in order: what follows a waiting fetch waits too.
  while (!connection->closing && !connection->fetch_waits) {
    const std::string& in = connection->in;
    if (in.size() < kFramePrefixBytes) return;
    const auto* bytes = reinterpret_cast<const uint8_t*>(in.data());
    const size_t header_bytes = base::LoadLe<uint32_t>(bytes);
    const size_t payload_bytes = base::LoadLe<uint32_t>(bytes + 4);
    if (in.size() < kFramePrefixBytes + header_bytes + payload_bytes) return;
    wire::RequestHeader request;
    if (!request.ParseFromArray(bytes + kFramePrefixBytes, static_cast<int>(header_bytes))) {
      connection->closing = true;
      return;
    }
    const std::string payload = in.substr(kFramePrefixBytes + header_bytes, payload_bytes);
    connection->in.erase(0, kFramePrefixBytes + header_bytes + payload_bytes);
    Handle(connection, &request, payload);
  }
}

void FakeBroker::Reply(Connection* connection, const wire::ResponseHeader& header,
                       const std::string& payload) {
  connection->out += EncodeFrame(header, payload.size()) + payload;
  Write(connection);
}

void FakeBroker::DoHello(Connection* connection, const wire::RequestHeader& request) {
  wire::ResponseHeader response;
  response.set_correlation_id(request.correlation_id());
  if (!request.has_hello() || request.hello().proto_min() > 1) {
    *response.mutable_error() =
        MakeError(wire::Error::UNSUPPORTED_VERSION, false, "this broker speaks versions 1 to 1");
    Reply(connection, response);
    connection->closing = true;
    return;
  }
  connection->greeted = true;
  wire::HelloResponse* hello = response.mutable_hello();
  hello->set_proto(1);
  hello->set_cluster_id("fake");
  hello->set_node_id(1000 + std::max(connection->core, 0));
  hello->set_core(static_cast<uint32_t>(std::max(connection->core, 0)));
  hello->mutable_limits()->set_payload_bytes_max(64 << 20);
  Reply(connection, response);
}

void FakeBroker::Handle(Connection* connection, wire::RequestHeader* request,
                        const std::string& payload) {
  const int kind = request->body_case();
  int before = 0;
  for (const auto& [key, count] : counts_) before += key.second == kind ? count : 0;
  ++counts_[{connection->core, kind}];
  if (!connection->greeted) return DoHello(connection, *request);
  Verdict verdict;
  if (hook_) verdict = hook_({connection->core, before, request});
  if (verdict.act == Act::kCloseBefore) {
    connection->closing = true;
    return;
  }
  wire::ResponseHeader response;
  response.set_correlation_id(request->correlation_id());
  std::string reply_payload;
  const bool partition_error = verdict.partition_error.code() != wire::Error::OK;
  if (verdict.error.code() != wire::Error::OK) {
    *response.mutable_error() = verdict.error;
  } else if (request->has_produce() && partition_error) {
    for (int i = 0; i < request->produce().partitions_size(); ++i) {
      *response.mutable_produce()->add_partitions()->mutable_error() = verdict.partition_error;
    }
  } else if (request->has_fetch() && partition_error) {
    for (int i = 0; i < request->fetch().partitions_size(); ++i) {
      *response.mutable_fetch()->add_partitions()->mutable_error() = verdict.partition_error;
    }
  } else if (request->has_metadata()) {
    DoMetadata(request->metadata(), response.mutable_metadata());
  } else if (request->has_produce()) {
    DoProduce(request->produce(), payload, response.mutable_produce());
  } else if (request->has_fetch()) {
    connection->fetch_waits = true;
    connection->fetch_deadline_ms = NowMillis() + request->fetch().max_wait_ms();
    connection->fetch = *request;
    return RetryFetch(connection, false);
  } else if (request->has_list_offsets()) {
    DoListOffsets(request->list_offsets(), response.mutable_list_offsets());
  } else if (request->has_init_producer()) {
    response.mutable_init_producer()->set_producer_id(next_producer_id_++);
  } else if (request->has_create_topic()) {
    const wire::Error error = Create(request->create_topic(), response.mutable_create_topic());
    if (error.code() != wire::Error::OK) *response.mutable_error() = error;
  } else if (request->has_delete_topic()) {
    const Topic* topic = Find(request->delete_topic().name(), "");
    if (topic == nullptr) *response.mutable_error() = MakeError(wire::Error::UNKNOWN_TOPIC, false);
    std::erase_if(topics_, [&](const auto& one) { return one.get() == topic; });
  } else if (request->has_describe_topic()) {
    DoDescribe(request->describe_topic(), &response);
  }
  if (verdict.act == Act::kCloseAfter) {
    connection->closing = true;
    return;
  }
  connection->mute = connection->mute || verdict.act == Act::kStopAfter;
  const bool quiet = request->has_produce() && request->produce().acks() == wire::ACKS_NONE;
  if (!quiet) Reply(connection, response, reply_payload);
}

FakeBroker::Topic* FakeBroker::Find(const std::string& name, const std::string& id) {
  for (const auto& topic : topics_) {
    if (id.empty() ? topic->name == name : IdBytes(topic->id) == id) return topic.get();
  }
  return nullptr;
}

void FakeBroker::FillTopic(const Topic& topic, wire::TopicMetadata* metadata) {
  metadata->set_name(topic.name);
  metadata->set_topic_id(IdBytes(topic.id));
  for (size_t i = 0; i < topic.partitions.size(); ++i) {
    wire::PartitionMetadata* partition = metadata->add_partitions();
    partition->set_partition(static_cast<uint32_t>(i));
    partition->set_leader_node(1000 + static_cast<int>(i % ports_.size()));
    partition->set_leader_epoch(1);
  }
}

void FakeBroker::DoMetadata(const wire::MetadataRequest& request,
                            wire::MetadataResponse* response) {
  for (size_t i = 0; i < ports_.size(); ++i) {
    wire::Node* node = response->add_nodes();
    node->set_node_id(1000 + static_cast<int>(i));
    node->set_core(static_cast<uint32_t>(i));
    node->set_host("127.0.0.1");
    node->set_port(advertised_[i]);
  }
  if (request.all_topics()) {
    for (const auto& topic : topics_) FillTopic(*topic, response->add_topics());
  }
  for (const std::string& name : request.topics()) {
    wire::TopicMetadata* metadata = response->add_topics();
    metadata->set_name(name);
    const Topic* topic = Find(name, "");
    if (topic == nullptr) {
      *metadata->mutable_error() = MakeError(wire::Error::UNKNOWN_TOPIC, true);
    } else {
      FillTopic(*topic, metadata);
    }
  }
}

wire::Error FakeBroker::Append(Partition* partition, const std::string& batches,
                               int64_t* base_offset) {
  const log::Parsed<log::BatchView> parsed = log::ParseBatch(base::AsBytes(batches));
  if (!parsed.ok() || parsed.batch.size_bytes() != batches.size() ||
      log::ValidateBatch(parsed.batch, log::BatchRules::Producer(16 << 20)) !=
          log::BatchError::kNone) {
    return MakeError(wire::Error::CORRUPT_BATCH, false, "corrupt");
  }
  const log::BatchView& batch = parsed.batch;
  if (batch.has_producer()) {
    // As in the real one, a producer that is not known is taken with whatever sequence it has.
    const auto [entry, unknown] = partition->producers.try_emplace(batch.producer_id());
    ProducerState& state = entry->second;
    for (const auto& [sequence, offset] : state.recent) {
      if (sequence != batch.base_sequence()) continue;
      *base_offset = offset;
      return {};
    }
    if (!unknown && batch.base_sequence() != state.next_sequence) {
      return MakeError(wire::Error::OUT_OF_ORDER_SEQUENCE, false, "out of order");
    }
    state.next_sequence = batch.base_sequence() + batch.record_count();
    state.recent.emplace_back(batch.base_sequence(), partition->end);
    if (state.recent.size() > 5) state.recent.pop_front();
  }
  std::string stored = batches;
  log::PatchBaseOffset({reinterpret_cast<uint8_t*>(stored.data()), stored.size()},
                       base::Offset(partition->end));
  *base_offset = partition->end;
  partition->batches.emplace_back(partition->end, std::move(stored));
  partition->end += batch.record_count();
  return {};
}

void FakeBroker::DoProduce(const wire::ProduceRequest& request, const std::string& payload,
                           wire::ProduceResponse* response) {
  size_t at = 0;
  for (const wire::PartitionBatches& one : request.partitions()) {
    wire::PartitionProduced* produced = response->add_partitions();
    const std::string batches = payload.substr(at, one.payload_bytes());
    at += one.payload_bytes();
    Topic* topic = Find(one.topic(), one.topic_id());
    if (topic == nullptr || one.partition() >= topic->partitions.size()) {
      *produced->mutable_error() = MakeError(wire::Error::UNKNOWN_TOPIC, true);
      continue;
    }
    int64_t base_offset = 0;
    const wire::Error error = Append(&topic->partitions[one.partition()], batches, &base_offset);
    if (error.code() != wire::Error::OK) *produced->mutable_error() = error;
    produced->set_base_offset(base_offset);
  }
}

bool FakeBroker::DoFetch(const wire::FetchRequest& request, wire::FetchResponse* response,
                         std::string* payload) {
  bool error = false;
  for (const wire::PartitionFetch& one : request.partitions()) {
    wire::PartitionFetched* fetched = response->add_partitions();
    Topic* topic = Find(one.topic(), one.topic_id());
    if (topic == nullptr || one.partition() >= topic->partitions.size()) {
      *fetched->mutable_error() = MakeError(wire::Error::UNKNOWN_TOPIC, true);
      error = true;
      continue;
    }
    const Partition& partition = topic->partitions[one.partition()];
    fetched->set_high_watermark(partition.end);
    fetched->set_log_end_offset(partition.end);
    if (one.offset() < 0 || one.offset() > partition.end) {
      *fetched->mutable_error() = MakeError(wire::Error::OFFSET_OUT_OF_RANGE, false);
      error = true;
      continue;
    }
    size_t bytes = 0;
    for (size_t i = 0; i < partition.batches.size(); ++i) {
      const int64_t next =
          i + 1 < partition.batches.size() ? partition.batches[i + 1].first : partition.end;
      if (next <= one.offset()) continue;
      const std::string& batch = partition.batches[i].second;
      const bool fits = bytes + batch.size() <= one.max_bytes() &&
                        payload->size() + batch.size() <= request.max_bytes();
      if (!fits && !payload->empty()) break;
      bytes += batch.size();
      *payload += batch;
    }
    fetched->set_payload_bytes(static_cast<uint32_t>(bytes));
  }
  return error || payload->size() >= std::max<size_t>(request.min_bytes(), 1);
}

void FakeBroker::RetryFetch(Connection* connection, bool timed_out) {
  wire::ResponseHeader response;
  std::string payload;
  const bool enough = DoFetch(connection->fetch.fetch(), response.mutable_fetch(), &payload);
  if (!enough && !timed_out) return;
  response.set_correlation_id(connection->fetch.correlation_id());
  connection->fetch_waits = false;
  Reply(connection, response, payload);
  Parse(connection);
}

void FakeBroker::DoListOffsets(const wire::ListOffsetsRequest& request,
                               wire::ListOffsetsResponse* response) {
  for (const wire::PartitionPoint& one : request.partitions()) {
    wire::PartitionOffset* offset = response->add_partitions();
    Topic* topic = Find(one.topic(), one.topic_id());
    if (topic == nullptr || one.partition() >= topic->partitions.size()) {
      *offset->mutable_error() = MakeError(wire::Error::UNKNOWN_TOPIC, true);
      continue;
    }
    const int64_t end = topic->partitions[one.partition()].end;
    offset->set_offset(one.point() == wire::PartitionPoint::EARLIEST ? 0
                       : one.point() == wire::PartitionPoint::LATEST ? end
                                                                     : -1);
  }
}

void FakeBroker::DoDescribe(const wire::DescribeTopicRequest& request,
                            wire::ResponseHeader* response) {
  const Topic* topic = Find(request.name(), "");
  if (topic == nullptr) {
    *response->mutable_error() = MakeError(wire::Error::UNKNOWN_TOPIC, false);
    return;
  }
  wire::DescribeTopicResponse* describe = response->mutable_describe_topic();
  describe->set_name(topic->name);
  describe->set_topic_id(IdBytes(topic->id));
  for (size_t i = 0; i < topic->partitions.size(); ++i) {
    wire::PartitionDescription* partition = describe->add_partitions();
    partition->mutable_metadata()->set_leader_node(1000 + static_cast<int>(i % ports_.size()));
    partition->set_high_watermark(topic->partitions[i].end);
    partition->set_log_end_offset(topic->partitions[i].end);
  }
  wire::ConfigEntry* config = describe->add_configs();
  config->set_name("retention.ms");
  config->set_value("604800000");
  config->set_is_default(true);
}

wire::Error FakeBroker::Create(const wire::CreateTopicRequest& request,
                               wire::CreateTopicResponse* response) {
  if (Find(request.name(), "") != nullptr) {
    return MakeError(wire::Error::TOPIC_EXISTS, false, "the topic exists");
  }
  auto topic = std::make_unique<Topic>();
  topic->name = request.name();
  topic->id = base::Uuid::Random();
  topic->partitions.resize(std::max<size_t>(1, request.partitions()));
  response->set_topic_id(IdBytes(topic->id));
  response->set_partitions(static_cast<uint32_t>(topic->partitions.size()));
  topics_.push_back(std::move(topic));
  return {};
}

}  // namespace ringtail::client
