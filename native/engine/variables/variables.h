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
  // Fills `v` (see found, not_found below). kError: the variable cannot be had. `rest`: of prefix
  // variables, what follows the prefix, lower case.
  int (*get)(Request* r, VarValue* v, Str rest, uintptr_t data);
  int (*set)(Request* r, VarValue* v,
             uintptr_t data);  // null: written to the slot, when changeable
  uintptr_t data;
  unsigned flags;
};
constexpr unsigned kVarChangeable = 1, kVarNoCacheable = 2, kVarIndexed = 4, kVarPrefix = 8;

const VariableDef* find_variable(
    Str lower_name);  // exact, else the longest prefix row; null: unknown
// More rows, from modules; `rows` ends with a null name and stays. Before any Plan is sealed.
void add_variables(const VariableDef* rows);

VarValue* get_indexed(Request* r, int index);  // cached
VarValue* get_flushed(Request* r, int index);  // no_cacheable ones anew
// By name, as ngx.var reads: Plan slots first, then builtins and prefixes. Null or not_found: nil.
VarValue* get_variable(Request* r, Str lower_name);
// ngx.var.x = v (null: nil). kOk, or kError with *error in `a`: "variable \"x\" not changeable",
// "variable \"x\" not found for writing; maybe it is a built-in variable that is not changeable or
// you forgot to use \"set $x '';\" in the config file to define it first".
int set_variable(Request* r, Str lower_name, const Str* value, const char** error, Arena& a);
void set_indexed(Request* r, int index, Str value);

// The value as a Str; "" when it cannot be had. (A text is never NUL-terminated by contract.)
inline Str value_of(const VarValue* v) { return v && !v->not_found ? v->data : Str(); }

// For getters.
inline int found(VarValue* v, Str s) {
  v->data = s;
  v->valid = true;
  v->not_found = v->no_cacheable = false;
  return kOk;
}
inline int not_found(VarValue* v) {
  v->data = Str();
  v->valid = false;
  v->not_found = true;
  return kOk;
}
int found_number(Request* r, VarValue* v, int64_t n);

// Evaluates into the request's arena. A literal, or one variable alone, is returned as it is.
Str eval(Request* r, const Complex& value);
// Captures $1–$9 are escaped for arguments where the URI was escaped, as the rewrite module does in
// `set` and `if`.
Str eval_quoted(Request* r, const Complex& value);
// $1 … of the request's last match.
Str capture(const Request* r, int n);
bool is_true(Request* r, const Complex& value);  // `if=` conditions: not empty and not "0"
// Matches, sets the captures and the variables of named groups. kOk, kDeclined (no match) or kError
// (logged).
int match_regex(Request* r, const Regex& regex, Str subject);

}  // namespace moonphase::engine
