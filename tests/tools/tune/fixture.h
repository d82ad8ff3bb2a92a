// A machine as one text file, unpacked into a directory for --root:
//
//   # a comment
//   = /srv/ringtail                     the data directory
//   /proc/sys/vm/swappiness: 60         a file with a line
//   /sys/.../cpu{0-3}/online: 1         several with the same line
//   /proc/self/limits:                  a file with the lines below that begin with |
//   |Limit    Soft Limit  Hard Limit
//   /dev/cpu_dma_latency: hex 00943577  bytes
//   /sys/block/vda -> ../devices/vda    a link
//   /run/empty/                         a directory
#pragma once

#include <string>

namespace ringtail::tune {

struct Fixture {
  std::string root;       // in TEST_TMPDIR, a new one each time
  std::string directory;  // the data directory
};

// `name` without its folder and ending; fails the test where the file makes no sense.
Fixture Unpack(const std::string& name);

std::string ReadWhole(const std::string& path);
void WriteWhole(const std::string& path, const std::string& text);

}  // namespace ringtail::tune
