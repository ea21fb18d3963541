// Variables: the native table of nginx's own, the Plan's slots, and evaluation of complex values.
#pragma once

#include "engine/plan.h"
#include "http/request.h"

namespace moonphase::engine {

using http::Request;
using http::VarValue;

// A row of the native table.
struct VariableDef {
  const char* name;  // "host"; prefix variables end with '_': "http_"
  int (*get)(Request* r, VarValue* v, Str name_or_rest, uintptr_t data);
  int (*set)(Request* r, VarValue* v, uintptr_t data);  // null: not changeable
  uintptr_t data;
  unsigned flags;
};
constexpr unsigned kVarChangeable = 1, kVarNoCacheable = 2, kVarIndexed = 4, kVarPrefix = 8;

const VariableDef* find_variable(Str lower_name);  // exact, else the longest prefix row; null: unknown
VarValue* get_indexed(Request* r, int index);      // cached
VarValue* get_flushed(Request* r, int index);      // no_cacheable ones anew
// By name, as ngx.var reads: Plan slots first, then builtins and prefixes. Null or not_found: nil.
VarValue* get_variable(Request* r, Str lower_name);
// ngx.var.x = v. Errors: "variable \"x\" not changeable", "variable \"x\" not found for writing; maybe it is a
// built-in variable that is not changeable or you forgot to use \"set $x '';\" in the config file to define it first"
int set_variable(Request* r, Str lower_name, const Str* value, const char** error, Arena& a);
void set_indexed(Request* r, int index, Str value);

// Evaluates into the request's arena (a literal is returned as it is). kOk or kError.
Str eval(Request* r, const Complex& value);
// Captures $1–$9 are r->captures.
bool is_true(Request* r, const Complex& value);  // `if=` conditions: not empty and not "0"

}  // namespace moonphase::engine
