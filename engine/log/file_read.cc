#include "engine/log/file_read.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "engine/base/result.h"
#include "engine/io/file.h"

namespace ringtail::log {

task::Task<absl::StatusOr<size_t>> ReadCached(io::Backend& io, const FilePin& pin,
                                              base::MutableByteView into, int64_t position,
                                              uint64_t* ring_reads) {
  iovec vector{into.data(), into.size()};
  int64_t done = io.ReadNowait(pin.fd(), &vector, 1, position);
  if (done == static_cast<int64_t>(into.size())) co_return into.size();
  done = std::max<int64_t>(done, 0);
  if (ring_reads != nullptr) ++*ring_reads;
  vector = {into.data() + done, into.size() - static_cast<size_t>(done)};
  const int64_t rest = co_await io::ReadFully(io, pin.fd(), &vector, 1, position + done);
  if (rest < 0) co_return io::ErrnoStatus(static_cast<int>(-rest), "read", pin.file()->path());
  co_return static_cast<size_t>(done + rest);
}

task::Task<absl::StatusOr<int64_t>> CountEntries(FileCache& files, io::Backend& io, FileRef file,
                                                 int64_t count, int64_t entry_bytes,
                                                 int64_t (*key)(const uint8_t* entry),
                                                 int64_t limit, uint8_t* last) {
  if (count == 0) co_return 0;
  FilePin pin = files.TryPin(file);
  if (!pin) {
    RT_CO_ASSIGN_OR_RETURN(pin, co_await files.Pin(file));
  }
  std::array<uint8_t, 4096> page;
  const int64_t per_page = static_cast<int64_t>(page.size()) / entry_bytes;
  int64_t low = 0;  // entries below have keys <= limit; those from `high` on are above it
  int64_t high = count;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    const int64_t first = middle - middle % per_page;
    const int64_t in_page = std::min(per_page, count - first);
    const base::MutableByteView into(page.data(), static_cast<size_t>(in_page * entry_bytes));
    RT_CO_ASSIGN_OR_RETURN(const size_t read,
                           co_await ReadCached(io, pin, into, first * entry_bytes));
    if (read < into.size()) {
      co_return absl::DataLossError("index is shorter than it was: " + file->path());
    }
    int64_t below = 0;
    int64_t above = in_page;
    while (below < above) {
      const int64_t probe = (below + above) / 2;
      if (key(page.data() + probe * entry_bytes) <= limit) {
        below = probe + 1;
      } else {
        above = probe;
      }
    }
    if (below > 0) {
      std::memcpy(last, page.data() + (below - 1) * entry_bytes, static_cast<size_t>(entry_bytes));
      low = first + below;
    }
    if (below < in_page) high = first + below;
  }
  co_return low;
}

task::Task<absl::Status> WriteTail(FileCache& files, io::Backend& io, FileRef file,
                                   base::ByteView bytes, int64_t position, bool cut) {
  RT_CO_ASSIGN_OR_RETURN(const FilePin pin, co_await files.Pin(file, /*create=*/true));
  if (!bytes.empty()) {
    iovec vector{const_cast<uint8_t*>(bytes.data()), bytes.size()};
    const int64_t done = co_await io::WriteFully(io, pin.fd(), &vector, 1, position, 0);
    if (done < 0) co_return io::ErrnoStatus(static_cast<int>(-done), "write", file->path());
    if (done < static_cast<int64_t>(bytes.size())) {
      co_return absl::UnavailableError("short write: " + file->path());
    }
  }
  if (cut) {
    const int error = io.Truncate(pin.fd(), position + static_cast<int64_t>(bytes.size()));
    if (error != 0) co_return io::ErrnoStatus(-error, "truncate", file->path());
  }
  co_return absl::OkStatus();
}

}  // namespace ringtail::log
