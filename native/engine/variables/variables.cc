// Reading and writing variables: by index, by name.
#include "engine/variables/variables.h"

#include "engine/lifecycle.h"
#include "engine/map.h"
#include "engine/runtime.h"
#include "engine/variables/core.h"
#include "engine/variables/names.h"

namespace moonphase::engine {

namespace {

// The native rows by name. Filled when the addon is loaded, before any thread reads it.
struct Registry {
  StrMap<const VariableDef*> exact;
  struct Prefix {
    Str name;
    const VariableDef* def;
  };
  std::vector<Prefix> prefixes;
  Registry() {
    for (const VariableDef* rows : {kRequestVariables, kHeaderVariables, kTlsVariables,
                                    kConnectionVariables, kLaterVariables, kResponseVariables})
      add(rows);
  }
  void add(const VariableDef* rows) {
    for (; rows->name; ++rows) {
      if (rows->flags & kVarPrefix)
        prefixes.push_back({rows->name, rows});
      else
        exact[rows->name] = rows;
    }
  }
};
Registry& registry() {
  static Registry r;
  return r;
}

// A map that reads itself must end.
thread_local int t_depth = 100;

int evaluate(Request* r, const VariableSlot& slot, VarValue* v) {
  switch (slot.kind) {
    case VariableSlot::kBuiltin:
      return slot.def->get(r, v, slot.rest, slot.def->data);
    case VariableSlot::kSet:
      if (loc(r)->uninitialized_variable_warn)
        MOONPHASE_LOG(r, kLogWarn, 0, "using uninitialized \"%s\" variable", slot.name.c_str());
      return found(v, "");
    case VariableSlot::kMap:
      return map_value(r, *slot.map, v);
    case VariableSlot::kGeo:
      return geo_value(r, *slot.geo, v);
    case VariableSlot::kSplit:
      return split_value(r, *slot.split, v);
    case VariableSlot::kCapture:
    case VariableSlot::kJs:
      return not_found(v);
  }
  return kError;
}

bool no_cacheable(const VariableSlot& slot) {
  if (slot.kind == VariableSlot::kBuiltin) return slot.def->flags & kVarNoCacheable;
  return slot.kind == VariableSlot::kMap && slot.map->is_volatile;
}

bool enter(Request* r, Str name) {
  if (t_depth > 0) {
    --t_depth;
    return true;
  }
  MOONPHASE_LOG(r, kLogErr, 0, "cycle while evaluating variable \"%.*s\"", STR(name));
  return false;
}

VarValue* evaluate_alone(Request* r, const VariableDef* def, Str name) {
  auto* v = r->pool->make<VarValue>();
  if (!enter(r, name)) return nullptr;
  Str rest = def->flags & kVarPrefix ? name.substr(std::strlen(def->name)) : Str();
  int rc = def->get(r, v, rest, def->data);
  ++t_depth;
  return rc == kOk ? v : nullptr;
}

}  // namespace

void add_variables(const VariableDef* rows) { registry().add(rows); }

const VariableDef* find_variable(Str lower_name) {
  Registry& known = registry();
  if (auto it = known.exact.find(lower_name); it != known.exact.end()) return it->second;
  const VariableDef* best = nullptr;
  size_t length = 0;
  for (const auto& [name, def] : known.prefixes) {
    if (name.size() <= length || !lower_name.starts_with(name)) continue;
    best = def;
    length = name.size();
  }
  return best;
}

VarValue* get_indexed(Request* r, int index) {
  VarValue* v = &r->variables[index];
  if (v->valid || v->not_found) return v;
  const VariableSlot& slot = plan(r).variables[static_cast<size_t>(index)];
  if (!enter(r, slot.name)) return nullptr;
  int rc = evaluate(r, slot, v);
  ++t_depth;
  if (rc != kOk) {
    not_found(v);
    return nullptr;
  }
  if (no_cacheable(slot)) v->no_cacheable = true;
  return v;
}

VarValue* get_flushed(Request* r, int index) {
  VarValue* v = &r->variables[index];
  if (v->valid || v->not_found) {
    if (!v->no_cacheable) return v;
    v->valid = v->not_found = false;
  }
  return get_indexed(r, index);
}

VarValue* get_variable(Request* r, Str lower_name) {
  const Plan& p = plan(r);
  const auto [index, def] = known_name(p, lower_name);
  if (index >= 0) {
    const VariableSlot& slot = p.variables[static_cast<size_t>(index)];
    // A prefix variable that only some value mentions: nginx does not look it up by index here, so
    // that changes of the request's headers are seen.
    if (slot.kind != VariableSlot::kBuiltin || slot.assigned || !(slot.def->flags & kVarPrefix))
      return get_flushed(r, index);
    return evaluate_alone(r, slot.def, lower_name);
  }
  return def ? evaluate_alone(r, def, lower_name) : nullptr;
}

int set_variable(Request* r, Str lower_name, const Str* value, const char** error, Arena& a) {
  const Plan& p = plan(r);
  int index = p.variable(lower_name);
  const VariableSlot* slot = index >= 0 ? &p.variables[static_cast<size_t>(index)] : nullptr;
  const VariableDef* def =
      slot && slot->kind != VariableSlot::kBuiltin ? nullptr : find_variable(lower_name);
  if (def && (def->flags & kVarPrefix)) def = nullptr;

  if (def) {
    if (!(def->flags & kVarChangeable)) {
      *error = a.join({"variable \"", lower_name, "\" not changeable", Str("", 1)}).data();
      return kError;
    }
    if (def->set) {
      VarValue v;
      if (value)
        found(&v, *value);
      else
        not_found(&v);
      def->set(r, &v, def->data);
      return kOk;
    }
  }
  if (slot && (def || slot->assigned || slot->kind != VariableSlot::kBuiltin)) {
    VarValue* v = &r->variables[index];
    if (value)
      found(v, *value);
    else
      not_found(v);
    return kOk;
  }
  if (def) {
    *error =
        a.join({"variable \"", lower_name, "\" cannot be assigned a value", Str("", 1)}).data();
    return kError;
  }
  *error = a.join({"variable \"", lower_name,
                   "\" not found for writing; maybe it is a built-in variable that is not "
                   "changeable or you forgot "
                   "to use \"set $",
                   lower_name, " '';\" in the config file to define it first", Str("", 1)})
               .data();
  return kError;
}

void set_indexed(Request* r, int index, Str value) { found(&r->variables[index], value); }

int found_number(Request* r, VarValue* v, int64_t n) {
  char buf[24];
  char* p = buf + sizeof buf;
  bool negative = n < 0;
  uint64_t u = negative ? 0 - static_cast<uint64_t>(n) : static_cast<uint64_t>(n);
  do {
    *--p = static_cast<char>('0' + u % 10);
    u /= 10;
  } while (u);
  if (negative) *--p = '-';
  return found(v, r->pool->copy({p, static_cast<size_t>(buf + sizeof buf - p)}));
}

}  // namespace moonphase::engine
