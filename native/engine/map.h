// Variables that are computed from others: map, geo, split_clients.
#pragma once

#include "engine/variables/variables.h"

namespace moonphase::engine {

int map_value(Request* r, const MapPlan& map, VarValue* v);
int geo_value(Request* r, const GeoPlan& geo, VarValue* v);
int split_value(Request* r, const SplitPlan& split, VarValue* v);

// Sorts masks for search, reads the addresses. False with nginx's sentence in *error.
void seal_map(MapPlan& map);
bool seal_geo(GeoPlan& geo, std::string* error);

// "10.0.0.0/8", "::1", "2001:db8::/32" → 16 bytes (IPv4 as ::ffff:a.b.c.d) and the prefix length of
// 128.
bool parse_cidr(Str text, uint8_t* address, int* bits, bool* is_ipv4);

}  // namespace moonphase::engine
