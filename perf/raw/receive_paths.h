// The ways to receive messages over loopback TCP: each ends with the message's bytes together in
// memory, and with its acknowledgement.
//
// A server of many connections has to ask what each of them takes while nothing comes. Paths that
// receive into memory of their own hold it for every connection, idle ones too: with a buffer of
// 64 KiB, 640 MB for 10,000 of them. Buffers that are lent by the ring ("provided") belong to no
// connection until bytes have come, so that a few MB do for any number; the price is a copy, where
// a message does not lie in one of them.
#pragma once

#include <vector>

#include "perf/lib/rounds.h"
#include "perf/raw/message_load.h"

namespace ringtail::raw {

enum class ReceivePath {
  kBlocking,   // recv blocks; one connection only
  kEpoll,      // epoll_wait, then recv
  kRing,       // a receive of the ring, armed again each time
  kInPlace,    // the same with MSG_WAITALL and the message's place: one completion a message
  kProvided,   // a receive of the ring into a buffer that it lends, armed again each time
  kMultishot,  // the same, armed once
};

const char* Name(ReceivePath path);

// Those that can serve so many connections.
std::vector<ReceivePath> ReceivePaths(int connections);

// The buffers that are lent: as many and as large as the broker's.
inline constexpr int kProvidedBuffers = 256;
inline constexpr int kProvidedBytes = 16 << 10;

// In the calling process; figures as MessageSource's.
perf::Figures RunReceivePath(ReceivePath path, const MessageLoad& load);

}  // namespace ringtail::raw
