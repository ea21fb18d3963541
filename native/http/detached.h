// A request that has been answered and logged but for its log handlers: it keeps its memory, and
// its connection goes on without it.
#pragma once

#include "http/connection.h"

namespace moonphase::http {

// Its last log handler has ended: the memory goes after the turn.
void end_detached(Request* main);
// The server ends: whatever they wait for.
void end_all_detached(HttpServer* server);

}  // namespace moonphase::http
