// moonphase.upstream.core: groups as tables, and changes of them; lua/moonphase/upstream.lua is
// what Lua code sees of it.
#include "engine/upstream/zone.h"
#include "ngx/ffi.h"
#include "ngx/upstream.h"

namespace moonphase::ngx {

namespace {

using engine::UpstreamGroupInfo;
using engine::UpstreamServerInfo;

void push_server(lua_State* L, const UpstreamServerInfo& s) {
  lua_createtable(L, 0, 10);
  set_text(L, "address", s.address);
  set_text(L, "server", s.server);
  set_number(L, "weight", s.weight);
  set_number(L, "max_fails", s.max_fails);
  set_number(L, "fail_timeout", s.fail_timeout);
  set_number(L, "max_conns", s.max_conns);
  set_bool(L, "backup", s.backup);
  set_bool(L, "down", s.down);
  set_number(L, "fails", s.fails);
  set_number(L, "conns", s.conns);
}

// list(): an array of {name, method, zone, added, servers}
int list(lua_State* L) {
  engine::Plan* plan = upstream_plan(L);
  lua_newtable(L);
  if (!plan) return 1;
  int n = 0;
  for (const UpstreamGroupInfo& group : engine::list_upstreams(*plan)) {
    lua_createtable(L, 0, 5);
    set_text(L, "name", group.name);
    set_text(L, "method", group.method);
    if (!group.zone.empty()) set_text(L, "zone", group.zone);
    set_bool(L, "added", group.added);
    lua_createtable(L, static_cast<int>(group.servers.size()), 0);
    int i = 0;
    for (const UpstreamServerInfo& s : group.servers) {
      push_server(L, s);
      lua_rawseti(L, -2, ++i);
    }
    lua_setfield(L, -2, "servers");
    lua_rawseti(L, -2, ++n);
  }
  return 1;
}

std::string text_field(lua_State* L, const char* key) {
  lua_getfield(L, -1, key);
  size_t n = 0;
  const char* s = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &n) : nullptr;
  std::string text = s ? std::string(s, n) : std::string();
  lua_pop(L, 1);
  return text;
}
template <class T>
void number_field(lua_State* L, const char* key, T* to) {
  lua_getfield(L, -1, key);
  if (lua_isnumber(L, -1)) *to = static_cast<T>(lua_tointeger(L, -1));
  lua_pop(L, 1);
}
bool bool_field(lua_State* L, const char* key) {
  lua_getfield(L, -1, key);
  const bool on = lua_toboolean(L, -1) != 0;
  lua_pop(L, 1);
  return on;
}

int answer(lua_State* L, const std::string& wrong) {
  if (wrong.empty()) {
    lua_pushboolean(L, 1);
    return 1;
  }
  lua_pushnil(L);
  push_str(L, wrong);
  return 2;
}

// set(name, method, servers): the arguments' types are checked by the caller
int set(lua_State* L) {
  UpstreamGroupInfo info;
  info.name = check_str(L, 1);
  info.method = check_str(L, 2);
  luaL_checktype(L, 3, LUA_TTABLE);
  engine::Plan* plan = upstream_plan(L);
  if (!plan) return answer(L, "no server runs here");
  const int n = static_cast<int>(lua_objlen(L, 3));
  for (int i = 1; i <= n; ++i) {
    lua_rawgeti(L, 3, i);
    UpstreamServerInfo& s = info.servers.emplace_back();
    if (lua_istable(L, -1)) {
      s.address = text_field(L, "address");
      s.server = text_field(L, "server");
      number_field(L, "weight", &s.weight);
      number_field(L, "max_fails", &s.max_fails);
      number_field(L, "max_conns", &s.max_conns);
      number_field(L, "fail_timeout", &s.fail_timeout);
      s.backup = bool_field(L, "backup");
      s.down = bool_field(L, "down");
    }
    lua_pop(L, 1);
  }
  return answer(L, engine::set_upstream(*plan, info));
}

int remove(lua_State* L) {
  const std::string name(check_str(L, 1));
  engine::Plan* plan = upstream_plan(L);
  return answer(L, plan ? engine::remove_upstream(*plan, name) : "no server runs here");
}

}  // namespace

int new_upstream_changes(lua_State* L) {
  static const luaL_Reg kFunctions[] = {
      {"list", list}, {"set", set}, {"remove", remove}, {nullptr, nullptr}};
  lua_createtable(L, 0, 3);
  set_functions(L, kFunctions);
  return 1;
}

}  // namespace moonphase::ngx
