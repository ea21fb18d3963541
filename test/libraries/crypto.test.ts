// Libraries over OpenSSL by FFI, which here is the node binary's: lua-resty-openssl, lua-resty-jwt, lua-resty-session.
import crypto from 'node:crypto';
import t from 'tap';
import { request } from '../helpers/http.js';
import { startRedis } from '../helpers/services.js';
import { answers, lacks, luaPath, tlsFiles } from './library.js';

const openssl = ['lua-resty-openssl'];

t.test('openssl: keys, certificates, ciphers', { skip: lacks(...openssl) }, (t) =>
  answers(t, {
    path: luaPath(...openssl),
    lua: `
    local version = require "resty.openssl.version"
    ngx.say(version.OPENSSL_3_UP)
    local pkey = require "resty.openssl.pkey"
    for _, config in ipairs { { type = "RSA", bits = 2048 }, { type = "EC", curve = "prime256v1" }, { type = "Ed25519" } } do
      local key = assert(pkey.new(config))
      local md = config.type ~= "Ed25519" and "sha256" or nil
      local sig = assert(key:sign("message", md))
      local other = assert(pkey.new(key:to_PEM("public")))
      ngx.say(config.type, " ", other:verify(sig, "message", md), " ", (other:verify(sig, "massage", md)))
    end
    local x509, store = require "resty.openssl.x509", require "resty.openssl.x509.store"
    local function read(name) return assert(x509.new(io.open("$prefix/tls/" .. name):read("*a"), "PEM")) end
    local trusted = assert(store.new())
    assert(trusted:add(read "ca.crt"))
    ngx.say(read("test.crt"):get_subject_name():find("CN").blob, " ", (trusted:verify(read "test.crt")))
    local empty = assert(store.new())
    ngx.say(select(2, empty:verify(read "test.crt")))
    local cipher = require "resty.openssl.cipher"
    local key, iv = string.rep("k", 32), string.rep("i", 12)
    local c = assert(cipher.new("aes-256-gcm"))
    local text = assert(c:encrypt(key, iv, "secret", false, "aad"))
    local tag = assert(c:get_aead_tag(16))
    ngx.say(cipher.new("aes-256-gcm"):decrypt(key, iv, text, false, "aad", tag))
    ngx.say((cipher.new("aes-256-gcm"):decrypt(key, iv, text, false, "bad", tag)))
    local kdf = require "resty.openssl.kdf"
    ngx.say(ngx.encode_base64(assert(kdf.derive { type = kdf.PBKDF2, md = "sha256", salt = "salt", pass = "pass",
                                                  pbkdf2_iter = 1000, outlen = 8 })))
    ngx.say((pkey.new("no key at all")))`,
    expected: [
      'true',
      'RSA true false',
      'EC true false',
      'Ed25519 true false',
      'test.com true',
      'unable to get local issuer certificate',
      'secret',
      'nil',
      crypto.pbkdf2Sync('pass', 'salt', 1000, 8, 'sha256').toString('base64'),
      'nil',
    ],
  }),
);

t.test('openssl: the connection of a cosocket and of a request', { skip: lacks(...openssl) }, (t) =>
  answers(t, {
    path: luaPath(...openssl),
    lua: `
    local ssl = require "resty.openssl.ssl"
    local sock = ngx.socket.tcp()
    ngx.say(ssl.from_socket(sock))
    assert(sock:connect("127.0.0.1", $port1))
    ngx.say(ssl.from_socket(sock))
    assert(sock:sslhandshake(nil, "test.com"))
    local s = assert(ssl.from_socket(sock))
    ngx.say(s:get_peer_certificate():get_subject_name():find("CN").blob, " ", s:get_cipher_name())
    assert(sock:send("GET / HTTP/1.0\\r\\n\\r\\n"))
    ngx.say((sock:receive("*a"):match("\\r\\n\\r\\n(.*)")))
    sock:close()
    ngx.say(ssl.from_socket(sock))
    ngx.say(ssl.from_request())`,
    http: `server {
      listen 127.0.0.1:$port1 ssl;
      ssl_certificate $prefix/tls/test.crt; ssl_certificate_key $prefix/tls/test.key; ssl_protocols TLSv1.3;
      location / { content_by_lua_block {
        ngx.print(assert(require("resty.openssl.ssl").from_request()):get_cipher_name())
      } }
    }`,
    files: tlsFiles,
    expected: [
      'nilcannot read u->peer.connection->ssl->connection',
      'nilcannot read u->peer.connection->ssl->connection',
      'test.com TLS_AES_256_GCM_SHA384',
      'TLS_AES_256_GCM_SHA384',
      'nilcannot read u->peer.connection->ssl->connection',
      'nilcannot read r->connection->ssl->connection',
    ],
  }),
);

const jwt = ['lua-resty-jwt', 'lua-resty-openssl', 'lua-resty-hmac', 'lua-resty-string'];

t.test('jwt', { skip: lacks(...jwt) }, (t) =>
  answers(t, {
    path: luaPath(...jwt),
    lua: `
    local jwt, validators = require "resty.jwt", require "resty.jwt-validators"
    local claims = { sub = "moon", exp = ngx.time() + 60 }
    local token = jwt:sign("secret", { header = { typ = "JWT", alg = "HS256" }, payload = claims })
    local seen = jwt:verify("secret", token)
    ngx.say(seen.verified, " ", seen.payload.sub)
    ngx.say((jwt:verify("other", token).reason:match("^[^:]+")))
    claims.exp = ngx.time() - 60
    token = jwt:sign("secret", { header = { typ = "JWT", alg = "HS512" }, payload = claims })
    ngx.say((jwt:verify("secret", token, { exp = validators.is_not_expired() }).reason:gsub(" %u%l%l, .*", "")))
    ngx.say(jwt:load_jwt("no.token").reason)
    local tampered = token:gsub("^(.-%.)(.)", function(head, c) return head .. (c == "e" and "f" or "e") end)
    ngx.say(jwt:verify("secret", tampered).verified)`,
    expected: [
      'true moon',
      'signature mismatch',
      "'exp' claim expired at",
      'invalid jwt string',
      'false',
    ],
  }),
);

const session = ['lua-resty-session', 'lua-resty-openssl'];

t.test('session: in cookies, in redis', { skip: lacks(...session) }, async (t) => {
  const redis = await startRedis();
  t.teardown(() => redis.stop());
  const server = await answers(t, {
    path: luaPath(...session),
    lua: 'ngx.say("up")',
    expected: ['up'],
    times: 1,
    http: 'init_by_lua_block { require("resty.session").init { secret = "moon" } }',
    locations: `location / { content_by_lua_block {
      local storage, action = ngx.var.uri:match("^/(%a+)/(%a+)$")
      local session, err, exists = require("resty.session").open {
        storage = storage, redis = { host = "127.0.0.1", port = ${redis.port}, prefix = "sessions" },
      }
      if action == "set" then
        session:set("visits", (session:get("visits") or 0) + 1)
        assert(session:save())
      elseif action == "destroy" then
        assert(session:destroy())
        return ngx.say("gone")
      end
      ngx.say(exists, " ", session:get("visits") or "none")
    } }`,
  });
  for (const storage of ['cookie', 'redis']) {
    let cookie = '';
    const ask = async (action: string) => {
      const headers = { Cookie: cookie };
      const answer = await request(server.port, `/${storage}/${action}`, { headers });
      const set = answer.header('set-cookie');
      if (set !== undefined) cookie = set.split(';')[0] ?? '';
      return answer.body.trim();
    };
    t.equal(await ask('look'), 'false none', storage);
    t.equal(await ask('set'), 'false 1', storage);
    t.equal(await ask('set'), 'true 2', storage);
    t.equal(await ask('look'), 'true 2', storage);
    const kept = cookie;
    const at = Math.floor(cookie.length / 2);
    cookie = `${cookie.slice(0, at)}${cookie[at] === 'A' ? 'B' : 'A'}${cookie.slice(at + 1)}`;
    t.equal(await ask('look'), 'false none', `${storage}, tampered with`);
    cookie = kept;
    t.equal(await ask('destroy'), 'gone');
    t.equal(await ask('look'), 'false none', `${storage}, destroyed`);
  }
  t.notMatch(server.errorLog(), /\[(error|alert|crit|emerg)\]/);
});
