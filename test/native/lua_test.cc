// VM, chunks and calls, without a server.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "lua/call.h"
#include "lua/chunks.h"
#include "lua/embedded.h"
#include "lua/paths.h"
#include "lua/vm.h"

using moonphase::Str;
namespace lua = moonphase::lua;

namespace {

int failures = 0;

void expect(bool ok, const char* what, const std::string& got = "") {
  if (ok) return;
  fprintf(stderr, "FAILED %s: got \"%s\"\n", what, got.c_str());
  ++failures;
}

std::string pop(lua_State* L) {
  std::string s = lua_isstring(L, -1) ? lua_tostring(L, -1) : luaL_typename(L, -1);
  lua_pop(L, 1);
  return s;
}

lua::Vm* make_vm() {
  lua::VmOptions options;
  options.load_resty_core = false;
  std::string error;
  lua::Vm* vm = lua::Vm::create(options, &error);
  expect(vm, "create", error);
  return vm;
}

std::string run(lua_State* L, Str source, const char* name = "=test") {
  if (lua::load_source(L, source, name) != 0) return pop(L);
  lua::protected_call(L, 0, 1);
  return pop(L);
}

bool is_vararg(lua_State* L) {
  lua_getglobal(L, "require");
  lua_pushliteral(L, "jit.util");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "funcinfo");
  lua_pushvalue(L, -3);
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "isvararg");
  bool vararg = lua_toboolean(L, -1);
  lua_pop(L, 3);
  return vararg;
}

void test_chunks() {
  lua::Vm* vm = make_vm();
  lua_State* L = vm->L();
  lua::load_source(L, "local a = 1\nlocal function f(...) return ... end\nreturn f(a)", "=plain");
  expect(!is_vararg(L), "no ... in the main chunk: not vararg");
  lua_call(L, 0, 1);
  expect(pop(L) == "1", "it runs");
  lua::load_source(L, "return select('#', ...)", "=vararg");
  expect(is_vararg(L), "one that uses ... stays vararg");
  lua_pushinteger(L, 7);
  lua_call(L, 1, 1);
  expect(pop(L) == "1", "it gets its arguments");

  std::string error = run(L, "local x\n\n\nx.y = 1", "=content_by_lua(nginx.conf:3)");
  expect(error.find("content_by_lua(nginx.conf:3):4: attempt to index local 'x'") == 0,
         "line numbers and names", error);
  expect(error.find("content_by_lua(nginx.conf:3):4: in main chunk") != std::string::npos,
         "in main chunk", error);
  error = run(L, "x = = 1", "=bad");
  expect(error.find("bad:1: unexpected symbol near '='") == 0, "syntax error", error);
  expect(run(L, "g = 5 return getfenv(1) == _G and g") == "5", "environment");
  expect(run(L,
             "local t = {} for i = 1, 100 do t[i] = i end return #t .. 'LL' .. tostring(1LL) .. "
             "2.5") == "100LL1LL2.5",
         "constants");
  expect(lua_gettop(L) == 0, "stack");
  vm->release();
}

void test_files() {
  lua::Vm* vm = make_vm();
  lua_State* L = vm->L();
  char dir[] = "/tmp/moonphase-lua-test-XXXXXX";
  std::string base = mkdtemp(dir);
  std::string path = base + "/a.lua";
  std::ofstream(path) << "#!/bin/lua\nlocal t = 3\nreturn t, debug.getinfo(1).source";
  expect(lua::load_file(L, path.c_str()) == 0, "load_file");
  expect(!is_vararg(L), "files are not vararg");
  lua_call(L, 0, 2);
  expect(pop(L) == "@" + path, "chunk name of a file");
  lua_pop(L, 1);
  expect(lua::load_file(L, (base + "/none.lua").c_str()) == LUA_ERRFILE && errno == ENOENT,
         "errno of a missing file");
  std::string error = pop(L);
  expect(error == "cannot open " + base + "/none.lua: No such file or directory", "missing file",
         error);

  // bytecode, as luajit -b writes it: with and without debug information
  expect(
      run(L, "local f = io.open('" + base +
                 "/b.ljbc', 'wb') f:write(string.dump(loadstring('return 1 + 1'), true)) f:close() "
                 "f = io.open('" +
                 base +
                 "/c.ljbc', 'wb') f:write(string.dump(loadstring('error(\"x\")', '=orig'))) "
                 "f:close()") == "nil",
      "dump");
  expect(lua::load_file(L, (base + "/b.ljbc").c_str()) == 0 && !is_vararg(L), "stripped bytecode");
  lua_call(L, 0, 1);
  expect(pop(L) == "2", "stripped bytecode runs");
  expect(lua::load_file(L, (base + "/c.ljbc").c_str()) == 0, "bytecode");
  lua::protected_call(L, 0, 0, false);
  error = pop(L);
  expect(error == "orig:1: x", "names in bytecode", error);
  vm->release();
}

void test_calls() {
  lua::Vm* vm = make_vm();
  lua_State* L = vm->L();
  lua_pushinteger(L, 1);
  int status = lua::protect(
      L, [](lua_State* L) { return luaL_error(L, "no %d", 5); }, nullptr);
  expect(status == LUA_ERRRUN && pop(L) == "no 5", "protect");
  expect(lua_gettop(L) == 1, "protect keeps the stack");
  lua_settop(L, 0);
  expect(run(L, "error({})") == "table", "error values that are no strings");

  lua_State* co = lua_newthread(L);
  lua::load_source(co, "local function f() local x = nil; x() end\nf()", "=co");
  expect(lua::resume(co, 0) == LUA_ERRRUN, "resume");
  lua_State* chain[] = {co};
  lua::push_traceback(L, chain, 1);
  std::string text = pop(L);
  expect(
      text == "stack traceback:\ncoroutine 0:\n\tco: in function 'f'\n\tco:2: in main chunk" ||
          text == "stack traceback:\ncoroutine 0:\n\tco:1: in function 'f'\n\tco:2: in main chunk",
      "traceback", text);
  lua_settop(L, 0);

  // A finished coroutine takes the next function, any number of times.
  co = lua_newthread(L);
  const void* bottom = nullptr;
  for (int i = 0; i < 100000; ++i) {
    lua::load_source(co, "local a, b = coroutine.yield(1) return a, b, 3", "=again");
    if (lua::resume(co, 0) != LUA_YIELD || lua_gettop(co) != 1)
      return expect(false, "reused coroutine yields");
    lua_settop(co, 0);
    lua_pushinteger(co, 1);
    lua_pushinteger(co, i);
    if (lua::resume(co, 2) != 0 || lua_gettop(co) != 3 || lua_tointeger(co, 2) != i)
      return expect(false, "reused coroutine ends");
    lua_settop(co, 0);
    lua_pushnil(co);
    lua_pop(co, 1);
    if (i == 0) bottom = lua_topointer(co, LUA_GLOBALSINDEX);
  }
  expect(bottom == lua_topointer(L, LUA_GLOBALSINDEX), "globals");
  vm->release();
}

void test_paths() {
  expect(lua::version_in_base(
             "if not ngx.config.ngx_lua_version\n or ngx.config.ngx_lua_version ~= 10028\nthen") ==
             10028,
         "version ~=");
  expect(lua::version_in_base("or ngx.config.ngx_lua_version < 10030 then") == 10030, "version <");
  expect(lua::version_in_base("or ngx.config.ngx_lua_version") == 0, "no version");

  char dir[] = "/tmp/moonphase-lua-test-XXXXXX";
  std::string base = mkdtemp(dir);
  auto make = [&](const std::string& root, int version) {
    std::string command = "mkdir -p " + root + "/resty/core " + root + "/ngx";
    expect(system(command.c_str()) == 0, "mkdir");
    std::ofstream(root + "/resty/core/base.lua") << "ngx.config.ngx_lua_version ~= " << version;
    std::ofstream(root + "/ngx/x.lua") << "return '" << root << "'";
  };
  make(base + "/bundled", 10028);
  make(base + "/old", 10025);
  make(base + "/new", 10030);
  lua::VmOptions options;
  options.lualib = base + "/bundled";
  options.load_resty_core = false;
  options.prefix = "/p/";
  options.package_path = "$prefix/a/?.lua;${prefix}/b/?.lua;" + base + "/old/?.lua;;";
  std::string error;
  lua::Vm* vm = lua::Vm::create(options, &error);
  std::string path = run(vm->L(), "return package.path");
  expect(
      path.find("/p//a/?.lua;/p//b/?.lua;" + base + "/old/?.lua;" + base + "/bundled/?.lua;") == 0,
      "package.path", path);
  expect(path.find(";;") == std::string::npos, "no empty entry", path);
  expect(vm->lua_version == 10028, "an old lua-resty-core is passed over");
  expect(run(vm->L(), "return require 'ngx.x'") == base + "/bundled",
         "ngx.* of the bundled lualib");
  vm->release();

  options.package_path = base + "/new/?.lua";
  vm = lua::Vm::create(options, &error);
  expect(vm->lua_version == 10030, "a newer one of the user is taken");
  expect(run(vm->L(), "return require 'ngx.x'") == base + "/new", "with its ngx.*");
  expect(
      run(vm->L(), "return (select(2, pcall(require, 'nope')))").find("module 'nope' not found") ==
          0,
      "not found");
  vm->release();

  options.user_lualib = base + "/new";
  options.package_path.clear();
  vm = lua::Vm::create(options, &error);
  expect(vm->lua_version == 10030 && lua::Vm::of(lua_newthread(vm->L())) == vm, "MOONPHASE_LUALIB");
  vm->release();
}

}  // namespace

int main() {
  test_chunks();
  test_files();
  test_calls();
  test_paths();
  return failures ? 1 : 0;
}
