// cjson: values, settings, and lua-cjson's messages.
#include <cstdio>
#include <lua.hpp>

#include "ngx/api.h"

namespace {

const char kScript[] = R"lua(
local cjson = require "cjson"
local safe = require "cjson.safe"
local failures = 0
local function expect(what, got, wanted)
  if got ~= wanted then
    io.stderr:write(what, ": got ", tostring(got), ", wanted ", tostring(wanted), "\n")
    failures = failures + 1
  end
end
local function decode_error(text, message)
  local value, err = safe.decode(text)
  expect(text, value == nil and err, message)
end
local function encode_error(value, message)
  local text, err = safe.encode(value)
  expect("encode", text == nil and err, message)
end

expect("object", cjson.decode('{"a":[1,{"b":null}]}').a[2].b, cjson.null)
expect("surrogates", cjson.decode('"\\ud83d\\ude00"'), "\240\159\152\128")
expect("any bytes", cjson.decode('"\255"'), "\255")
expect("control bytes", cjson.decode('"a\nb"'), "a\nb")
expect("hex", cjson.decode("0x10"), 16)
expect("large", cjson.decode("12345678901234567890"), 12345678901234567890)
expect("null inside", #cjson.decode("[]\0junk"), 0)
expect("deep", type(cjson.decode(("["):rep(1000) .. ("]"):rep(1000))), "table")

decode_error("", "Expected value but found T_END at character 1")
decode_error("[1,]", "Expected value but found T_ARR_END at character 4")
decode_error("[1 2]", "Expected comma or array end but found T_INTEGER at character 4")
decode_error("{1:2}", "Expected object key string but found T_INTEGER at character 2")
decode_error('{"a" 1.5}', "Expected colon but found T_NUMBER at character 6")
decode_error('{"a":1 "b"}', "Expected comma or object end but found T_STRING at character 8")
decode_error('"abc', "Expected value but found unexpected end of string at character 5")
decode_error('"\\x"', "Expected value but found invalid escape code at character 2")
decode_error('"\\ud800"', "Expected value but found invalid unicode escape code at character 2")
decode_error("nul", "Expected value but found invalid token at character 1")
decode_error("-", "Expected value but found invalid number at character 1")
decode_error("1 1", "Expected the end but found T_INTEGER at character 3")
decode_error("\0a", "JSON parser does not support UTF-16 or UTF-32")
decode_error(("["):rep(1001), "Found too many nested data structures (1001) at character 1001")

local strict = cjson.new()
strict.decode_invalid_numbers(false)
expect("strict", select(2, pcall(strict.decode, "nan")),
       "Expected value but found invalid token at character 1")
strict.decode_allow_comment(true)
expect("comments", strict.decode("[1 /* one */, // two\n 2]")[2], 2)
strict.decode_array_with_array_mt(true)
expect("array_mt", getmetatable(strict.decode("[]")), cjson.array_mt)
expect("array again", strict.encode(strict.decode("[]")), "[]")

expect("escapes", cjson.encode("a/\"\\\n\1\127"), [["a\/\"\\\n\u0001\u007f"]])
expect("numbers", cjson.encode({ 1, 1.5, 1e14, 1e15, -0.5 }), "[1,1.5,1e+14,1e+15,-0.5]")
expect("holes", cjson.encode({ [1] = 1, [3] = 3 }), "[1,null,3]")
expect("empty", cjson.encode({}), "{}")
expect("empty_array", cjson.encode({ cjson.empty_array }), "[[]]")
expect("empty_array_mt", cjson.encode(setmetatable({}, cjson.empty_array_mt)), "[]")
expect("__len", cjson.encode(setmetatable({}, {
  __len = function() return 2 end,
  __index = function(_, i) return cjson.encode(i) end,
})), '["1","2"]')
encode_error({ [100] = 1 }, "Cannot serialise table: excessively sparse array")
encode_error({ [true] = 1 }, "Cannot serialise boolean: table key must be a number or string")
encode_error(print, "Cannot serialise function: type not supported")
encode_error(0 / 0, "Cannot serialise number: must not be NaN or Infinity")
local loop = {}
loop[1] = loop
encode_error(loop, "Cannot serialise, excessive nesting (1001)")

local other = cjson.new()
other.encode_escape_forward_slash(false)
other.encode_skip_unsupported_value_types(true)
other.encode_indent("  ")
expect("others keep theirs", cjson.encode("/"), [["\/"]])
expect("indent", other.encode({ print, "/" }), '[\n  "/"\n]')
expect("setting", select(2, pcall(other.encode_max_depth, 0)),
       "bad argument #1 to '?' (expected integer between 1 and 2147483647)")
assert(failures == 0, "failures: " .. failures)
)lua";

}  // namespace

int main() {
  lua_State* L = luaL_newstate();
  luaL_openlibs(L);
  moonphase::ngx::open_cjson(L);
  int rc = luaL_dostring(L, kScript);
  if (rc) fprintf(stderr, "%s\n", lua_tostring(L, -1));
  lua_close(L);
  return rc;
}
