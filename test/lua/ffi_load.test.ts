// Libraries of the system by ffi.load, of which node has a copy inside with other structures: each calls its own functions.
import fs from 'node:fs';
import t from 'tap';
import { request } from '../helpers/http.js';
import { Server } from '../helpers/server.js';

const arch = process.arch === 'arm64' ? 'aarch64' : 'x86_64';
const sanitized =
  process.env['MOONPHASE_SANITIZER'] !== undefined && 'sanitizers refuse RTLD_DEEPBIND';
const lacks = (file: string) =>
  sanitized || (!fs.existsSync(`/usr/lib/${arch}-linux-gnu/${file}`) && `no ${file}`);

async function says(lua: string): Promise<string> {
  const server = await Server.start({
    http: `server { listen 127.0.0.1:$port; location = /t { content_by_lua_block { ${lua} } } }`,
  });
  try {
    return (await request(server.port, '/t')).body;
  } finally {
    await server.stop();
  }
}

t.test('zlib: there and back', { skip: lacks('libz.so.1') }, async (t) => {
  const body = await says(`
    local ffi = require "ffi"
    ffi.cdef [[
      typedef struct {
        const char *next_in; unsigned avail_in; unsigned long total_in;
        char *next_out; unsigned avail_out; unsigned long total_out;
        const char *msg; void *state; void *zalloc, *zfree, *opaque;
        int data_type; unsigned long adler, reserved;
      } z_stream_of_test;
      const char *zlibVersion();
      int deflateInit_(z_stream_of_test *, int level, const char *version, int size);
      int deflate(z_stream_of_test *, int flush);
      int deflateEnd(z_stream_of_test *);
      int uncompress(char *to, unsigned long *n, const char *from, unsigned long size);
    ]]
    local z = ffi.load "libz.so.1"
    local text = string.rep("hello ", 1000)
    local stream, packed = ffi.new "z_stream_of_test", ffi.new("char[?]", 1000)
    assert(z.deflateInit_(stream, 6, z.zlibVersion(), ffi.sizeof(stream)) == 0)
    stream.next_in, stream.avail_in = text, #text
    stream.next_out, stream.avail_out = packed, 1000
    assert(z.deflate(stream, 4) == 1)
    assert(z.deflateEnd(stream) == 0)
    local out, n = ffi.new("char[?]", #text), ffi.new("unsigned long[1]", #text)
    assert(z.uncompress(out, n, packed, stream.total_out) == 0)
    ngx.say(ffi.string(out, n[0]) == text)`);
  t.equal(body, 'true\n');
});

t.test('libcrypto: a key by its own functions', { skip: lacks('libcrypto.so.3') }, async (t) => {
  const body = await says(`
    local ffi = require "ffi"
    ffi.cdef [[
      const char *OpenSSL_version(int);
      void *EVP_PKEY_Q_keygen(void *, const char *, const char *, ...);
      int EVP_PKEY_get_bits(const void *);
      void EVP_PKEY_free(void *);
    ]]
    local crypto = ffi.load "libcrypto.so.3"
    local key = crypto.EVP_PKEY_Q_keygen(nil, nil, "EC", ffi.cast("const char *", "P-256"))
    ngx.say(key ~= nil and crypto.EVP_PKEY_get_bits(key))
    crypto.EVP_PKEY_free(key)
    ngx.say(ffi.string(crypto.OpenSSL_version(0)):match "^OpenSSL 3" or "another")`);
  t.equal(body, '256\nOpenSSL 3\n');
});

t.test('what is not there is refused as before', { skip: sanitized }, async (t) => {
  const body = await says(`
    local ffi = require "ffi"
    ngx.say(select(2, pcall(ffi.load, "z_that_nobody_has")))
    ngx.say(select(2, pcall(ffi.load, "libz.so.77")))
    ngx.say(select(2, pcall(ffi.load, {})))
    ngx.say(type(ffi.load "m"))`);
  const lines = body.split('\n');
  t.match(lines[0], /libz_that_nobody_has\.so: cannot open shared object file/);
  t.match(lines[1], /libz\.so\.77: cannot open shared object file/);
  t.equal(lines[3], 'userdata');
  t.match(lines[2], /bad argument #1 to '.*' \(string expected, got table\)/);
});
