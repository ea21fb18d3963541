// What a variable's name stands for. Lua asks by name each time, mostly for few names.
#pragma once

#include "base/types.h"

namespace moonphase::engine {

struct Plan;
struct VariableDef;

struct KnownName {
  int index = -1;                    // among the plan's; -1: none of them
  const VariableDef* def = nullptr;  // of a name that is none of the plan's; null: there is none
};

KnownName known_name(const Plan& p, Str lower_name);
// A plan goes: what is remembered of it must not be found for the next one at its place.
void forget_names();

}  // namespace moonphase::engine
