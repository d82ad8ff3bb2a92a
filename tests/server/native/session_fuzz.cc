#include "tests/engine/log/batch_maker.h"
#include "tests/server/fuzz_server.h"
#include "tests/server/native/native_dialogue.h"

namespace ringtail::native {
namespace {

std::vector<std::string> ValidFrames() {
  std::vector<std::string> frames;
  const std::string batch = log::MakeBatch({.records = 2});
  RequestHeader produce;
  for (uint32_t p : {0u, 1u}) {
    auto* slice = produce.mutable_produce()->add_partitions();
    slice->set_topic("t");
    slice->set_partition(p);
    slice->set_payload_bytes(static_cast<uint32_t>(batch.size()));
  }
  frames.push_back(NativeFrame(produce, batch + batch));
  produce.mutable_produce()->set_acks(proto::client::ACKS_NONE);
  frames.push_back(NativeFrame(produce, batch + batch));
  RequestHeader fetch;
  fetch.mutable_fetch()->set_max_bytes(100'000);
  fetch.mutable_fetch()->set_min_bytes(1);
  fetch.mutable_fetch()->set_max_wait_ms(1000);
  fetch.mutable_fetch()->add_partitions()->set_topic("t");
  frames.push_back(NativeFrame(fetch));
  RequestHeader metadata;
  metadata.mutable_metadata()->add_topics("t");
  frames.push_back(NativeFrame(metadata));
  RequestHeader offsets;
  offsets.mutable_list_offsets()->add_partitions()->set_topic("t");
  frames.push_back(NativeFrame(offsets));
  RequestHeader producer;
  producer.mutable_init_producer()->set_producer_id(1);
  producer.mutable_init_producer()->set_producer_epoch(1);
  frames.push_back(NativeFrame(producer));
  RequestHeader create;
  create.mutable_create_topic()->set_name("made");
  create.mutable_create_topic()->set_partitions(2);
  create.mutable_create_topic()->add_configs()->set_name("segment.bytes");
  frames.push_back(NativeFrame(create));
  RequestHeader remove;
  remove.mutable_delete_topic()->set_name("made");
  frames.push_back(NativeFrame(remove));
  RequestHeader describe;
  describe.mutable_describe_topic()->set_name("t");
  frames.push_back(NativeFrame(describe));
  frames.push_back(NativeFrame(Hello()));
  return frames;
}

}  // namespace
}  // namespace ringtail::native

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ringtail;
  static const std::vector<std::string> frames = native::ValidFrames();
  const std::string stream = server::FuzzedStream(data, size, frames);
  const bool greet = size == 0 || (data[0] & 0x40) == 0;
  server::SharedFuzzServer().Serve(server::ListenerKind::kNative,
                                   greet ? native::NativeFrame(native::Hello()) : "", stream);
  return 0;
}
