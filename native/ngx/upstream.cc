// require "ngx.upstream": lua-upstream-nginx-module's view of upstream groups.
#include "engine/upstream/upstream.h"
#include "engine/running.h"
#include "engine/upstream/zone.h"
#include "ngx/api.h"
#include "ngx/ffi.h"
#include "ngx/upstream.h"

namespace moonphase::ngx {

using engine::Peers;
using engine::PeerState;
using engine::UpstreamGroup;

namespace {

engine::Plan* plan_of(lua_State* L) {
  Request* r = engine::request_of(L);
  if (r) return &engine::plan(r);
  engine::Generation* g = engine::generation_of(L);
  return g && g->plan->main_conf ? g->plan.get() : nullptr;
}

std::string full_name(const UpstreamGroup& group) {
  return group.port ? group.name + ":" + std::to_string(group.port) : group.name;
}

template <class Fn>
void each_group(lua_State* L, Fn&& fn) {
  engine::Plan* plan = plan_of(L);
  if (!plan) return;
  for (const auto& zone : plan->zones) zone->refresh();
  for (const auto& group : engine::groups_of(*plan)) fn(*group);
  for (const auto& zone : plan->zones) zone->each_added(fn);
}

// By its name, or by name and port. Null: nil and the text are pushed.
UpstreamGroup* find(lua_State* L) {
  const Str host = check_str(L, 1);
  UpstreamGroup *exact = nullptr, *with_port = nullptr;
  each_group(L, [&](UpstreamGroup& group) {
    if (!exact && group.name == host) exact = &group;
    if (!with_port && group.port && full_name(group) == host) with_port = &group;
  });
  if (exact || with_port) return exact ? exact : with_port;
  lua_pushnil(L);
  lua_pushliteral(L, "upstream not found");
  return nullptr;
}

int get_upstreams(lua_State* L) {
  if (lua_gettop(L) != 0) return luaL_error(L, "no argument expected");
  lua_newtable(L);
  int n = 0;
  each_group(L, [&](UpstreamGroup& group) {
    push_str(L, full_name(group));
    lua_rawseti(L, -2, ++n);
  });
  return 1;
}

void push_server(lua_State* L, const engine::UpstreamServerPlan& s) {
  lua_createtable(L, 0, 7);
  set_text(L, "name", s.name);
  if (s.addresses.size() == 1) {
    push_str(L, s.addresses[0]);
  } else {
    lua_createtable(L, static_cast<int>(s.addresses.size()), 0);
    int n = 0;
    for (const std::string& address : s.addresses) {
      push_str(L, address);
      lua_rawseti(L, -2, ++n);
    }
  }
  lua_setfield(L, -2, "addr");
  set_number(L, "weight", s.weight);
  set_number(L, "max_fails", s.max_fails);
  set_number(L, "fail_timeout", s.fail_timeout / 1000);
  if (s.backup) set_bool(L, "backup", true);
  if (s.down) set_bool(L, "down", true);
}

// An address that some proxy_pass names: a server without a name.
void push_implicit(lua_State* L, const engine::UpstreamPeer& peer) {
  lua_createtable(L, 0, 4);
  set_text(L, "addr", peer.name);
  set_number(L, "weight", 0);
  set_number(L, "max_fails", 0);
  set_number(L, "fail_timeout", 0);
}

int get_servers(lua_State* L) {
  if (lua_gettop(L) != 1) return luaL_error(L, "exactly one argument expected");
  UpstreamGroup* group = find(L);
  if (!group) return 2;
  lua_newtable(L);
  int n = 0;
  if (group->plan && !group->own_plan) {
    for (const engine::UpstreamServerPlan& s : group->plan->servers) {
      push_server(L, s);
      lua_rawseti(L, -2, ++n);
    }
    return 1;
  }
  if (!group->plan) {
    if (group->peers->single()) {
      push_implicit(L, *group->peers->primary.peers[0]);
      lua_rawseti(L, -2, 1);
    }
    return 1;
  }
  for (const Peers::Set* set : {&group->peers->primary, &group->peers->backup}) {
    for (const auto& peer : set->peers) {
      engine::UpstreamServerPlan s;
      s.name = peer->server;
      s.addresses = {peer->name};
      s.weight = peer->own.weight;
      s.max_fails = peer->own.max_fails;
      s.fail_timeout = peer->own.fail_timeout * 1000;
      s.backup = peer->backup;
      s.down = peer->own.down;
      push_server(L, s);
      lua_rawseti(L, -2, ++n);
    }
  }
  return 1;
}

void push_peer(lua_State* L, const engine::UpstreamPeer& peer, const PeerState& s, int id) {
  lua_createtable(L, 0, 12);
  set_number(L, "id", id);
  set_text(L, "name", peer.name);
  set_number(L, "weight", s.weight);
  set_number(L, "current_weight", s.current_weight);
  set_number(L, "effective_weight", s.effective_weight);
  set_number(L, "conns", s.conns);
  set_number(L, "fails", s.fails);
  set_number(L, "max_fails", s.max_fails);
  set_number(L, "fail_timeout", s.fail_timeout);
  if (s.accessed) set_number(L, "accessed", s.accessed);
  if (s.checked) set_number(L, "checked", s.checked);
  if (s.down) set_bool(L, "down", true);
}

// What there is of each server of the set, taken under the lock: no Lua error may keep that.
int push_peers(lua_State* L, const UpstreamGroup& group, const Peers::Set& set) {
  lua_createtable(L, static_cast<int>(set.peers.size()), 0);
  int id = 0;
  for (const auto& peer : set.peers) {
    PeerState now;
    {
      engine::PeerLock lock(&group);
      if (const PeerState* s = lock.state(peer.get())) now = *s;
    }
    push_peer(L, *peer, now, id++);
    lua_rawseti(L, -2, id);
  }
  return 1;
}

int get_primary_peers(lua_State* L) {
  if (lua_gettop(L) != 1) return luaL_error(L, "exactly one argument expected");
  UpstreamGroup* group = find(L);
  return group ? push_peers(L, *group, group->peers->primary) : 2;
}

int get_backup_peers(lua_State* L) {
  if (lua_gettop(L) != 1) return luaL_error(L, "exactly one argument expected");
  UpstreamGroup* group = find(L);
  return group ? push_peers(L, *group, group->peers->backup) : 2;
}

int set_peer_down(lua_State* L) {
  if (lua_gettop(L) != 4) return luaL_error(L, "exactly 4 arguments expected");
  UpstreamGroup* group = find(L);
  if (!group) return 2;
  const bool backup = lua_toboolean(L, 2) != 0;
  const Peers::Set& set = backup ? group->peers->backup : group->peers->primary;
  if (backup && set.peers.empty()) {
    lua_pushnil(L);
    lua_pushliteral(L, "no backup peers");
    return 2;
  }
  const auto id = luaL_checkint(L, 3);
  const bool down = lua_toboolean(L, 4) != 0;
  if (id < 0 || id >= static_cast<int>(set.peers.size())) {
    lua_pushnil(L);
    lua_pushliteral(L, "bad peer id");
    return 2;
  }
  {
    engine::PeerLock lock(group);
    if (PeerState* s = lock.state(set.peers[static_cast<size_t>(id)].get())) {
      s->down = down;
      if (!down) s->fails = 0;
    }
  }
  lua_pushboolean(L, 1);
  return 1;
}

int current_upstream_name(lua_State* L) {
  Request* r = engine::request_of(L);
  if (!r) return luaL_error(L, "no request object found");
  const engine::Upstream* u = engine::Upstream::of(r);
  if (!u) {
    lua_pushnil(L);  // no proxying is being done
    return 1;
  }
  if (!u->group) return luaL_error(L, "no srv conf for upstream");
  push_str(L, full_name(*u->group));
  return 1;
}

int new_module(lua_State* L) {
  static const luaL_Reg kFunctions[] = {{"get_upstreams", get_upstreams},
                                        {"get_servers", get_servers},
                                        {"get_primary_peers", get_primary_peers},
                                        {"get_backup_peers", get_backup_peers},
                                        {"set_peer_down", set_peer_down},
                                        {"current_upstream_name", current_upstream_name},
                                        {nullptr, nullptr}};
  lua_createtable(L, 0, 6);
  set_functions(L, kFunctions);
  return 1;
}

}  // namespace

engine::Plan* upstream_plan(lua_State* L) { return plan_of(L); }

void open_upstream(lua_State* L) {
  static const luaL_Reg kModules[] = {{"ngx.upstream", new_module},
                                      {"moonphase.upstream.core", new_upstream_changes},
                                      {nullptr, nullptr}};
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "preload");
  set_functions(L, kModules);
  lua_pop(L, 2);
}

}  // namespace moonphase::ngx
