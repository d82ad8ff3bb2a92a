// Any bytes as the catalog file: no crash, nothing large allocated; what is accepted, and what an
// image can be made of, is the same when it is written and read again. The first byte says whether
// the prefix is set right, so that the message behind it is reached. What it says of the broker's
// settings is taken or left out.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/check.h"
#include "engine/base/crc32c.h"
#include "engine/base/endian.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "server/cluster/image.h"
#include "server/cluster/local_catalog.h"
#include "server/live_config.h"

namespace {

// Of a message with maps, whose entries come in any order otherwise.
std::string InOneOrder(const ringtail::proto::catalog::CatalogFile& file) {
  std::string bytes;
  google::protobuf::io::StringOutputStream stream(&bytes);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  file.SerializeToCodedStream(&coded);
  coded.Trim();
  return bytes;
}

const ringtail::server::LiveConfig& Live() {
  using namespace ringtail::server;
  static const LiveConfig live(*LoadConfig({}, {.home = "/home", .cpus = {0}}));
  return live;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ringtail;
  if (size == 0) return 0;
  std::string bytes(reinterpret_cast<const char*>(data + 1), size - 1);
  if ((data[0] & 1) != 0) {
    std::string prefix = "RTCAT001";
    prefix.resize(16);
    auto* raw = reinterpret_cast<uint8_t*>(prefix.data());
    base::StoreLe<uint32_t>(raw + 8, base::Crc32c(base::AsBytes(bytes)));
    base::StoreLe<uint32_t>(raw + 12, static_cast<uint32_t>(bytes.size()));
    bytes = prefix + bytes;
  }
  const auto file = server::DecodeCatalogFile(bytes);
  if (!file.ok()) return 0;
  const auto again = server::DecodeCatalogFile(server::EncodeCatalogFile(*file));
  RT_CHECK(again.ok());
  RT_CHECK(InOneOrder(*again) == InOneOrder(*file));
  const auto image = server::Image::FromProto(*file);
  if (!image.ok()) return 0;
  for (const server::TopicImage& topic : (*image)->topics()) {
    RT_CHECK((*image)->FindById(topic.id) != nullptr);
    RT_CHECK((*image)->FindByName(topic.name) != nullptr);
  }
  // Whatever was set, a broker starts with what it takes of it.
  if ((*image)->settings().empty()) return 0;
  std::vector<std::string> left_out;
  RT_CHECK(Live().Under((*image)->settings(), &left_out) != nullptr);
  RT_CHECK(left_out.empty() == Live().Check((*image)->settings()).ok());
  return 0;
}
