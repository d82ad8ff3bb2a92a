// A broker of a few hundred lines for tests of the client: speaks the native protocol on several
// "cores" (ports) and a shared port, keeps logs in memory, checks batches and sequences as the real
// one does, and fails where a test tells it to.
//
// Life: serves on a thread of its own from construction to destruction. The public functions may be
// called from the test's thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "engine/base/types.h"
#include "proto/client.pb.h"

namespace ringtail::client {

namespace wire = ::ringtail::proto::client;

class FakeBroker {
 public:
  // What a hook makes of a request.
  enum class Act {
    kServe,
    kCloseBefore,  // closes the connection without doing anything
    kCloseAfter,   // does it, and closes the connection instead of answering
    kStopAfter,    // does it, and never answers
  };
  struct Request {
    int core;   // whose port it came in at; -1: the shared one
    int count;  // how many of this kind came before it, on any port
    wire::RequestHeader* header;
  };
  // May change the request; may set an error for the whole reply, or for its partitions.
  struct Verdict {
    Act act = Act::kServe;
    wire::Error error;
    wire::Error partition_error;  // produce and fetch: instead of doing it
  };
  using Hook = std::function<Verdict(const Request&)>;

  explicit FakeBroker(int cores = 1);
  ~FakeBroker();

  // "127.0.0.1:port" of the shared port.
  std::string bootstrap() const;
  uint16_t core_port(int core) const { return ports_[static_cast<size_t>(core)]; }

  // Asked before every request but Hello.
  void SetHook(Hook hook);
  // Replies go out a byte at a time.
  void SetDribble(bool dribble);
  // Metadata names this host and port for a core from now on.
  void Advertise(int core, uint16_t port);
  void CreateTopic(const std::string& name, int partitions);
  // Cuts every connection.
  void CutConnections();

  // Requests of a kind (wire::RequestHeader::BodyCase) that came in at a core's port.
  int Requests(int core, int kind);
  int Connections();
  // Bytes of a partition's log.
  std::string Log(const std::string& topic, int partition);
  int64_t End(const std::string& topic, int partition);

 private:
  struct ProducerState {
    int32_t epoch = 0;
    int32_t next_sequence = 0;
    std::deque<std::pair<int32_t, int64_t>> recent;  // base sequence, base offset
  };
  struct Partition {
    std::vector<std::pair<int64_t, std::string>> batches;  // by base offset
    int64_t end = 0;
    std::map<int64_t, ProducerState> producers;
  };
  struct Topic {
    std::string name;
    base::Uuid id;
    std::vector<Partition> partitions;
  };
  struct Connection {
    int fd;
    int core;
    bool greeted = false;
    bool mute = false;  // kStopAfter
    bool closing = false;
    std::string in;
    std::string out;
    // A fetch that waits, and until when.
    bool fetch_waits = false;
    int64_t fetch_deadline_ms = 0;
    wire::RequestHeader fetch;
  };

  void Serve();
  void Accept(int listener, int core);
  void Read(Connection* connection);
  void Write(Connection* connection);
  void Parse(Connection* connection);
  void Handle(Connection* connection, wire::RequestHeader* request, const std::string& payload);
  void Reply(Connection* connection, const wire::ResponseHeader& header,
             const std::string& payload = "");
  void RetryFetch(Connection* connection, bool timed_out);

  void DoHello(Connection* connection, const wire::RequestHeader& request);
  void DoMetadata(const wire::MetadataRequest& request, wire::MetadataResponse* response);
  void DoProduce(const wire::ProduceRequest& request, const std::string& payload,
                 wire::ProduceResponse* response);
  wire::Error Append(Partition* partition, const std::string& batches, int64_t* base_offset);
  // False: nothing to answer with yet.
  bool DoFetch(const wire::FetchRequest& request, wire::FetchResponse* response,
               std::string* payload);
  void DoListOffsets(const wire::ListOffsetsRequest& request, wire::ListOffsetsResponse* response);
  void DoDescribe(const wire::DescribeTopicRequest& request, wire::ResponseHeader* response);
  wire::Error Create(const wire::CreateTopicRequest& request, wire::CreateTopicResponse* response);
  Topic* Find(const std::string& name, const std::string& id);
  void FillTopic(const Topic& topic, wire::TopicMetadata* metadata);

  std::mutex mutex_;  // over everything below
  Hook hook_;
  bool dribble_ = false;
  bool stop_ = false;
  bool cut_ = false;
  std::vector<std::unique_ptr<Topic>> topics_;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::map<std::pair<int, int>, int> counts_;
  std::vector<uint16_t> advertised_;
  int64_t next_producer_id_ = 1000;

  uint16_t shared_port_ = 0;
  std::vector<uint16_t> ports_;
  std::vector<int> listeners_;  // the shared one last
  int wake_[2];
  std::thread thread_;
};

wire::Error MakeError(wire::Error::Code code, bool retriable, const std::string& message = "");

}  // namespace ringtail::client
