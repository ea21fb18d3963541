// A request that has been answered and logged but for its log handlers: it keeps its memory, and
// its connection goes on without it.
#pragma once

#include "http/connection.h"

namespace moonphase::http {

// The request of `c` goes on without it; `slot`, and `buffer` where its bytes lie, go with it.
void detach_request(Connection* c, struct RequestSlot* slot, class Pool* pool, char* buffer,
                    size_t size);
// Its last log handler has ended: the memory goes after the turn.
void end_detached(Request* main);
// The server ends: whatever they wait for.
void end_all_detached(HttpServer* server);

}  // namespace moonphase::http
