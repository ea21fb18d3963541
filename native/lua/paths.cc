#include "lua/paths.h"

#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

#include "lua/chunks.h"
#include "lua/embedded.h"

namespace moonphase::lua {

namespace {

#if defined(__x86_64__)
#define MULTIARCH "x86_64-linux-gnu"
#elif defined(__aarch64__)
#define MULTIARCH "aarch64-linux-gnu"
#endif

constexpr char kSystemPath[] = "/usr/share/lua/5.1/?.lua;/usr/share/lua/5.1/?/init.lua";
#ifdef MULTIARCH
constexpr char kSystemCpath[] = "/usr/lib/" MULTIARCH "/lua/5.1/?.so;/usr/lib/lua/5.1/?.so";
#else
constexpr char kSystemCpath[] = "/usr/lib/lua/5.1/?.so";
#endif

constexpr int kOldestVersion = 10028, kNewestVersion = 10032;

std::string replace_all(std::string text, Str what, Str with) {
  for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += with.size())
    text.replace(at, what.size(), with);
  return text;
}

std::string expand(const std::string& path, const std::string& prefix,
                   const std::string& fallback) {
  if (path.empty()) return fallback;
  std::string out = replace_all(path, ";;", ";\1;");
  out = replace_all(out, "$prefix", prefix);
  out = replace_all(out, "${prefix}", prefix);
  return replace_all(out, "\1", fallback);
}

std::string field(lua_State* L, const char* name) {
  lua_getfield(L, -1, name);
  std::string value = lua_isstring(L, -1) ? lua_tostring(L, -1) : "";
  lua_pop(L, 1);
  return value;
}

void set_field(lua_State* L, const char* name, const std::string& value) {
  lua_pushlstring(L, value.data(), value.size());
  lua_setfield(L, -2, name);
}

// Where the addon is, and what was built beside it: the C part of lua-resty-signal.
std::string addon_directory() {
  Dl_info info;
  if (!dladdr(reinterpret_cast<void*>(&addon_directory), &info) || !info.dli_fname) return {};
  char* real = realpath(info.dli_fname, nullptr);
  std::string path = real ? real : "";
  free(real);
  return path.substr(0, path.rfind('/') + 1);
}

bool starts_with(Str s, Str prefix) { return s.substr(0, prefix.size()) == prefix; }

bool is_system_directory(const std::string& dir) {
  for (const char* system :
       {"/usr/share/lua/", "/usr/local/share/lua", "/usr/lib/", "/usr/local/lib/lua"})
    if (starts_with(dir, system)) return true;
  return false;
}

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

bool is_readable(const std::string& path) { return access(path.c_str(), R_OK) == 0; }

// Takes `root` if its lua-resty-core insists on a version that we are.
bool accepts(const std::string& root, Lualib* chosen) {
  std::string base = root + "/resty/core/base.lua";
  if (!is_readable(base)) return false;
  int version = version_in_base(read_file(base));
  if (version >= kOldestVersion && version <= kNewestVersion) {
    chosen->root = root;
    chosen->version = version;
    return true;
  }
  if (chosen->warning.empty()) {
    chosen->warning = "the lua-resty-core in \"" + root +
                      "\" is of another version (it asks for ngx_lua " + std::to_string(version) +
                      "): the bundled one is used";
  }
  return false;
}

bool is_core(Str name) {
  return name == "resty.core" || starts_with(name, "resty.core.") || starts_with(name, "ngx.") ||
         starts_with(name, "moonphase.");
}

// Upvalues: a directory, and whether this is the searcher behind all others: of libraries that are
// not the core a user's goes first, and the bundled one is there when there is none.
int search(lua_State* L) {
  size_t n;
  const char* name = luaL_checklstring(L, 1, &n);
  const char* root = lua_tostring(L, lua_upvalueindex(1));
  bool last = lua_toboolean(L, lua_upvalueindex(2));
  const bool core = is_core(Str(name, n));
  if (!last && !core) return 0;
  const char* file = luaL_gsub(L, name, ".", "/");
  const char* path = lua_pushfstring(L, "%s/%s.lua", root, file);
  if (*root && access(path, R_OK) == 0) {
    if (load_file(L, path) == 0) return 1;
    return luaL_error(L, "error loading module '%s' from file '%s':\n\t%s", name, path,
                      lua_tostring(L, -1));
  }
  const EmbeddedFile* embedded = find_embedded(lua_pushfstring(L, "%s.lua", file));
  if (!embedded) {
    if (!core) return 0;
    lua_pushfstring(L, "\n\tno file '%s'", path);
    return 1;
  }
  return load_embedded(L, *embedded) == 0 ? 1 : lua_error(L);
}

void add_searcher(lua_State* L, int position, const std::string& root, bool last) {
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "loaders");
  int count = static_cast<int>(lua_objlen(L, -1));
  if (position == 0) position = count + 1;
  for (int i = count; i >= position; --i) {
    lua_rawgeti(L, -1, i);
    lua_rawseti(L, -2, i + 1);
  }
  lua_pushlstring(L, root.data(), root.size());
  lua_pushboolean(L, last);
  lua_pushcclosure(L, search, 2);
  lua_rawseti(L, -2, position);
  lua_pop(L, 2);
}

}  // namespace

int version_in_base(Str text) {
  constexpr Str kName = "ngx_lua_version";
  for (size_t at = 0; (at = text.find(kName, at)) != Str::npos;) {
    at += kName.size();
    size_t i = at;
    while (i < text.size() && text[i] == ' ') ++i;
    size_t op = i;
    while (i < text.size() && strchr("~=<>", text[i])) ++i;
    if (i == op) continue;
    while (i < text.size() && text[i] == ' ') ++i;
    int version = 0;
    for (; i < text.size() && text[i] >= '0' && text[i] <= '9' && version < 1000000; ++i)
      version = version * 10 + (text[i] - '0');
    if (version) return version;
  }
  return 0;
}

Lualib choose_lualib(const VmOptions& options, const std::string& package_path) {
  Lualib chosen;
  if (!options.user_lualib.empty() && accepts(options.user_lualib, &chosen)) return chosen;
  for (size_t begin = 0, end; begin < package_path.size(); begin = end + 1) {
    end = std::min(package_path.find(';', begin), package_path.size());
    std::string entry = package_path.substr(begin, end - begin);
    size_t at = entry.find("/?.lua");
    if (at == std::string::npos || at + 6 != entry.size()) continue;
    std::string dir = entry.substr(0, at);
    if (dir == options.lualib || is_system_directory(dir)) continue;
    // Not a lua-resty-core, but a module of the user's own in its place.
    if (is_readable(dir + "/resty/core.lua") && !is_readable(dir + "/resty/core/base.lua")) {
      chosen.root = dir;
      chosen.warning.clear();
      return chosen;
    }
    if (accepts(dir, &chosen)) {
      chosen.warning.clear();
      return chosen;
    }
  }
  Lualib bundled;
  if (!options.lualib.empty() && accepts(options.lualib, &bundled)) {
    bundled.warning = chosen.warning;
    return bundled;
  }
  return chosen;
}

void add_lualib_searchers(lua_State* L, const Lualib& chosen, const VmOptions& options) {
  add_searcher(L, 2, chosen.root, false);
  if (!options.lualib.empty()) add_searcher(L, 0, options.lualib, true);
}

void set_package_paths(lua_State* L, const VmOptions& options) {
  lua_getglobal(L, "package");
  std::string path = field(L, "path");
  std::string cpath = field(L, "cpath");
  if (!getenv("LUA_PATH")) path += ";" + std::string(kSystemPath);
  if (!getenv("LUA_CPATH")) {
    cpath += ";" + std::string(kSystemCpath);
    if (std::string own = addon_directory(); !own.empty()) cpath += ";" + own + "?.so";
  }
  if (!options.lualib.empty()) {
    path = options.lualib + "/?.lua;" + options.lualib + "/?/init.lua;" + path;
  }
  set_field(L, "path", expand(options.package_path, options.prefix, path));
  set_field(L, "cpath", expand(options.package_cpath, options.prefix, cpath));
  lua_pop(L, 1);
}

}  // namespace moonphase::lua
