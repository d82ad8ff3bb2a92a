// Ten records there and back: example [host:port]
#include <cstdio>
#include <string>

#include "engine/base/result.h"
#include "tools/client/client.h"
#include "tools/client/consumer.h"
#include "tools/client/producer.h"

using namespace ringtail::client;

absl::Status Run(const std::string& bootstrap) {
  RT_ASSIGN_OR_RETURN(auto client, Client::Connect({.bootstrap = bootstrap}));
  const absl::Status made = client->CreateTopic("example", {.partitions = 1}).status();
  if (!made.ok() && !absl::IsAlreadyExists(made)) return made;
  RT_ASSIGN_OR_RETURN(auto producer, client->NewProducer({.acks = Acks::kAll}));
  RT_ASSIGN_OR_RETURN(const int64_t first, producer->Produce({.topic = "example", .value = "1"}));
  for (const char* value : {"2", "3", "4", "5", "6", "7", "8", "9", "10"}) {
    RT_RETURN_IF_ERROR(producer->Send({.topic = "example", .value = value}).status());
  }
  RT_RETURN_IF_ERROR(producer->Flush(absl::Seconds(30)));
  auto consumer = client->NewConsumer({});
  RT_RETURN_IF_ERROR(consumer->Assign({{"example", 0, StartAt::Offset(first)}}));
  while (consumer->Position("example", 0) < first + 10) {
    RT_ASSIGN_OR_RETURN(const auto records, consumer->Poll(absl::Seconds(1)));
    for (const ConsumerRecord& record : records) {
      printf("%ld: %s\n", long{record.offset}, std::string(record.value.value_or("")).c_str());
    }
  }
  return absl::OkStatus();
}

int main(int argc, char** argv) {
  const absl::Status status = Run(argc > 1 ? argv[1] : "127.0.0.1:7092");
  if (!status.ok()) fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
