// The broker's own way to send a range of a file: io::Sender on a core loop, one task a connection.
#pragma once

#include "engine/io/sender.h"
#include "perf/raw/chunk_server.h"

namespace ringtail::lab {

// As raw::ServeChunks, by `path`; options.method says nothing here.
void ServeByEngine(const raw::ChunkOptions& options, io::SendPath path, int listener);

}  // namespace ringtail::lab
