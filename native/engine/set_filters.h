// The directives of set-misc-nginx-module that give a variable a computed value: for the rewrite
// phase (kSetFilter) and for ndk.set_var in Lua.
#pragma once

#include "engine/plan.h"
#include "http/request.h"

namespace moonphase::engine {

struct SetFilter {
  Str name;
  int args;       // how many values `apply` reads
  bool in_place;  // the first of them is the variable's old value (set_if_empty, set_rotate)
  bool callable;  // ndk.set_var.NAME(text) exists: takes one value
  // The result goes to the request's arena. False: failed, and logged why.
  bool (*apply)(http::Request* r, const Str* values, Str* out);
};

const SetFilter* find_set_filter(Str name);

// Runs the directive `$variable = name(args)`. With no args a filter of one value reads the
// variable itself. The result is stored; kOk or kError.
int run_set_filter(http::Request* r, const SetFilter& filter, int variable,
                   const std::vector<Complex>& args);

}  // namespace moonphase::engine
