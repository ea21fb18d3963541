#include "lua/chunks.h"

#include <atomic>
#include <cerrno>
#include <string>

namespace moonphase::lua {

namespace {

// LuaJIT starts no trace in a vararg function, and every main chunk is one. Where the code does not
// use `...`, the flag goes: in the bytecode that lua_dump writes, since that format is fixed and
// the layout of prototypes in memory is not ours. Line numbers, names and the environment stay.
constexpr uint8_t kProtoVararg = 0x02;
constexpr uint8_t kDumpStripped = 0x02;

struct Cursor {
  const uint8_t* p;
  const uint8_t* end;
  bool ok = true;

  uint8_t byte() {
    if (p >= end) {
      ok = false;
      return 0;
    }
    return *p++;
  }
  uint32_t uleb() {
    uint32_t v = 0;
    for (int shift = 0; shift < 35; shift += 7) {
      uint8_t b = byte();
      v |= static_cast<uint32_t>(b & 0x7f) << shift;
      if (b < 0x80) return v;
    }
    ok = false;
    return 0;
  }
  void skip(size_t n) {
    if (static_cast<size_t>(end - p) < n) {
      ok = false;
      p = end;
    } else {
      p += n;
    }
  }
};

struct MainProto {
  size_t flags_at = 0;  // offset of the flags byte
  const uint8_t* code = nullptr;
  uint32_t instructions = 0;
};

// The main prototype is the last one of a dump.
bool find_main(const std::string& dump, MainProto* out) {
  auto* start = reinterpret_cast<const uint8_t*>(dump.data());
  Cursor c{start, start + dump.size()};
  if (c.byte() != 0x1b || c.byte() != 'L' || c.byte() != 'J') return false;
  c.byte();
  bool stripped = c.uleb() & kDumpStripped;
  if (!stripped) c.skip(c.uleb());
  const uint8_t* main = nullptr;
  while (c.ok) {
    uint32_t length = c.uleb();
    if (length == 0) break;
    main = c.p;
    c.skip(length);
  }
  if (!c.ok || !main) return false;
  Cursor m{main, c.end};
  out->flags_at = static_cast<size_t>(main - start);
  m.skip(4);  // flags, parameters, frame size, upvalues
  m.uleb();   // constants
  m.uleb();
  out->instructions = m.uleb();
  if (!stripped && m.uleb() != 0) {
    m.uleb();
    m.uleb();
  }
  out->code = m.p;
  m.skip(size_t{4} * out->instructions);
  return m.ok;
}

int append(lua_State*, const void* p, size_t n, void* to) {
  static_cast<std::string*>(to)->append(static_cast<const char*>(p), n);
  return 0;
}

bool dump_top(lua_State* L, std::string* out) { return lua_dump(L, append, out) == 0; }

// The number of the instruction that reads `...`, as this LuaJIT has it; -1: unknown.
int vararg_opcode(lua_State* L) {
  static std::atomic<int> known{-2};
  int op = known.load(std::memory_order_relaxed);
  if (op != -2) return op;
  op = -1;
  std::string dump;
  MainProto main;
  if (luaL_loadbuffer(L, "return ...", 10, "=") == 0 && dump_top(L, &dump) &&
      find_main(dump, &main) && main.instructions > 0) {
    op = main.code[0];
  }
  lua_pop(L, 1);
  known.store(op, std::memory_order_relaxed);
  return op;
}

// Replaces the function on the top by the same without the flag, if it may go.
void clear_vararg(lua_State* L) {
  int vararg = vararg_opcode(L);
  std::string dump;
  MainProto main;
  if (vararg < 0 || !dump_top(L, &dump) || !find_main(dump, &main)) return;
  for (uint32_t i = 0; i < main.instructions; ++i)
    if (main.code[4 * i] == vararg) return;
  dump[main.flags_at] = static_cast<char>(dump[main.flags_at] & ~kProtoVararg);
  // The chunk name comes with the dump unless it was stripped.
  lua_Debug ar;
  lua_pushvalue(L, -1);
  lua_getinfo(L, ">S", &ar);
  if (luaL_loadbuffer(L, dump.data(), dump.size(), ar.source) == 0) {
    lua_replace(L, -2);
  } else {
    lua_pop(L, 1);
  }
}

}  // namespace

int load_source(lua_State* L, Str source, const char* chunk_name) {
  int status = luaL_loadbuffer(L, source.data(), source.size(), chunk_name);
  if (status == 0) clear_vararg(L);
  return status;
}

int load_file(lua_State* L, const char* path) {
  int status = luaL_loadfile(L, path);
  int error = errno;
  if (status == 0) clear_vararg(L);
  errno = error;
  return status;
}

}  // namespace moonphase::lua
