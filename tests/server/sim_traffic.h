// Native clients as tasks of a simulation, which go on whatever happens to their connections and to
// the broker: they reconnect to where it serves now and try again.
//
// A producer writes numbered records under a producer id, so that each must end up in the log
// exactly once and in order, however often it was sent. A consumer reads a partition from its start
// on.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/sim/node.h"

namespace ringtail::server {

struct Traffic {
  uint16_t port = 0;  // of the broker that runs now; 0: none does
  bool stop = false;  // producers end with the batch they are at
  int running = 0;
  std::string failure;  // what must never happen, and happened

  struct Producer {
    int partition = 0;
    int64_t acknowledged = 0;  // records 0 .. acknowledged - 1 were acknowledged
    uint64_t retries = 0;
  };
  std::vector<std::unique_ptr<Producer>> producers;
  // By partition: "<producer>:<number>" of every record, in the order of the log.
  std::vector<std::vector<std::string>> consumed;
};

// Both end when traffic->stop is set (a consumer once it is told so). `topic` is served or will be.
task::Task<void> RunProducer(sim::SimNode* node, std::shared_ptr<Traffic> traffic,
                             std::string topic, int index);
task::Task<void> RunConsumer(sim::SimNode* node, std::shared_ptr<Traffic> traffic,
                             std::string topic, int partition);

// The values of all records in some whole batches, and where the next batch starts.
bool DecodeValues(const std::string& batches, int64_t* next_offset,
                  std::vector<std::string>* values);

}  // namespace ringtail::server
