// Which location's configuration a request gets.
#pragma once

#include "engine/plan.h"
#include "http/request.h"

namespace moonphase::engine {

using http::Request;

// Fills the tree's search table.
void seal_locations(LocationTree& tree);

// Notes which output filters the location needs, once the whole plan is known
// (engine/location_filters.cc).
void seal_filters(const Plan& plan, LocConf& conf);

// ngx_http_core_find_location, from r->loc downwards; sets r->loc. kOk: exact or regex match;
// kAgain: a prefix; kDone: redirect to the name with a slash (auto_redirect); kDeclined: none;
// kError.
int find_location(Request* r);
// What the new r->loc means for the request: limit_except, log, keep-alive, content handler…
void update_location(Request* r);

// Only the static part, for tests: the conf, or null.
LocConf* find_static(const LocationTree& tree, Str uri, int* rc);

}  // namespace moonphase::engine
