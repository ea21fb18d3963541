// Kafka's clients against a broker of our own (helpers/kafka.ts): Debian's producer, and lua-resty-kafka with TLS, SASL and a
// consumer.
import fs from 'node:fs';
import t from 'tap';
import { type BrokerOptions, ERRORS, KafkaBroker } from '../helpers/kafka.js';
import { answers, lacks, luaPath, serverTls } from './library.js';

const topics = { test: 2, other: 1 };

/** Both libraries have the same producer. */
const producer = (module: string, port: number): string => `
local producer = require "${module}.producer"
local brokers = { { host = "127.0.0.1", port = ${port} } }
local p = producer:new(brokers, { max_retry = 3, retry_backoff = 10 })
local first = tonumber(assert(p:send("test", "key", "one")))
ngx.say(tonumber(assert(p:send("test", "key", string.rep("two", 300000)))) - first)
ngx.say(tostring(p:send("other", nil, "three")):match("^%d+LL$") ~= nil)
ngx.say(p:send("nowhere", nil, "lost"))
ngx.say((select(2, producer:new({ { host = "127.0.0.1", port = 1 } }, { max_retry = 1 }):send("test", nil, "lost"))))`;

async function produces(t: Tap, module: string, path: string): Promise<void> {
  const broker = await KafkaBroker.start({ topics });
  t.teardown(() => broker.stop());
  await answers(t, {
    path,
    lua: producer(module, broker.port),
    expected: ['1', 'true', 'nilnot found topic', 'not found topic'],
    errors: /\[(alert|crit|emerg)\]/,
  });
  const messages = (broker.log.get('test') ?? []).flat();
  t.same(messages.map(({ key, value }) => [key, value.length]).slice(0, 2), [
    ['key', 3],
    ['key', 900_000],
  ]);
  t.equal(broker.log.get('other')?.[0]?.length, 2);
  t.equal(broker.connections, 1, 'all over one connection, kept');
}

/** What the broker refuses for a moment is sent once more; what waits in the buffer leaves with the timer. */
async function retriesAndFlushes(t: Tap, module: string, path: string): Promise<void> {
  const broker = await KafkaBroker.start({ topics });
  t.teardown(() => broker.stop());
  broker.failures.push(ERRORS.NOT_LEADER, ERRORS.NOT_LEADER);
  await answers(t, {
    path,
    times: 1,
    lua: `
    local producer = require "${module}.producer"
    local brokers = { { host = "127.0.0.1", port = ${broker.port} } }
    local p = producer:new(brokers, { max_retry = 5, retry_backoff = 10 })
    ngx.say(p:send("other", nil, "at the third time") ~= nil)
    local async = producer:new(brokers, { producer_type = "async", flush_time = 30, batch_num = 50 })
    for i = 1, 500 do assert(async:send("test", "k" .. i, "message " .. i)) end
    ngx.sleep(0.3)
    local sum = async:offset()
    ngx.say(sum == 500)`,
    expected: ['true', 'true'],
  });
  const messages = (broker.log.get('test') ?? []).flat();
  t.same(broker.log.get('other')?.[0]?.length, 1);
  t.equal(messages.length, 500);
  t.equal(new Set(messages.map(({ value }) => value)).size, 500, 'each once');
}

type Tap = Parameters<typeof answers>[0];

t.test("Debian's lua-nginx-kafka", (t) => {
  const path = '/usr/share/lua/5.1/?.lua';
  const skip =
    !fs.existsSync('/usr/share/lua/5.1/nginx/kafka/producer.lua') &&
    'lua-nginx-kafka is not installed';
  t.test('producer', { skip }, (t) => produces(t, 'nginx.kafka', path));
  t.test('retries, batches', { skip }, (t) => retriesAndFlushes(t, 'nginx.kafka', path));
  t.end();
});

t.test('lua-resty-kafka', (t) => {
  const path = luaPath('lua-resty-kafka', 'lua-resty-openssl', 'lua-resty-jit-uuid');
  const skip = lacks('lua-resty-kafka');
  t.test('producer', { skip }, (t) => produces(t, 'resty.kafka', path));
  t.test('retries, batches', { skip }, (t) => retriesAndFlushes(t, 'resty.kafka', path));

  t.test('consumer', { skip }, async (t) => {
    const broker = await KafkaBroker.start({ topics });
    t.teardown(() => broker.stop());
    const [partition] = broker.log.get('other') as [{ key: string; value: string }[]];
    for (let i = 0; i < 300; ++i) partition.push({ key: `k${i}`, value: 'v'.repeat(i) });
    await answers(t, {
      path,
      lua: `
      local consumer = require "resty.kafka.basic-consumer"
      local c = consumer:new({ { host = "127.0.0.1", port = ${broker.port} } })
      ngx.say((c:list_offset("other", 0, -1)), " ", (c:list_offset("other", 0, -2)))
      local got = assert(c:fetch("other", 0, 100))
      ngx.say(#got.records, " ", tonumber(got.records[1].offset), " ", got.records[200].key, " ", #got.records[200].value)
      ngx.say(#assert(c:fetch("other", 0, 300)).records)
      ngx.say(c:fetch("other", 0, 301))
      ngx.say(c:fetch("other", 7, 0))`,
      expected: [
        '300LL 0LL',
        '200 100 k299 299',
        '0',
        'nilOFFSET_OUT_OF_RANGE',
        'nilnot found partition',
      ],
    });
  });

  const doors: Record<string, { options: Omit<BrokerOptions, 'topics'>; needs?: string }> = {
    TLS: { options: { tls: serverTls } },
    'SASL PLAIN': { options: { sasl: { user: 'admin', password: 'secret' } } },
    'SASL SCRAM-SHA-256': {
      options: { sasl: { user: 'admin', password: 'secret' } },
      needs: 'lua-resty-openssl',
    },
    'SASL SCRAM-SHA-512': {
      options: { sasl: { user: 'admin', password: 'secret' }, tls: serverTls },
      needs: 'lua-resty-openssl',
    },
  };
  for (const [name, { options, needs }] of Object.entries(doors)) {
    const missing = skip || (needs !== undefined && lacks(needs, 'lua-resty-jit-uuid'));
    t.test(name, { skip: missing }, async (t) => {
      const broker = await KafkaBroker.start({ topics, ...options });
      t.teardown(() => broker.stop());
      const mechanism = /^SASL (.*)/.exec(name)?.[1];
      const sasl = (password: string) =>
        mechanism === undefined
          ? ''
          : `, sasl_config = { mechanism = "${mechanism}", user = "admin", password = "${password}" }`;
      const at = `host = "127.0.0.1", port = ${broker.port}`;
      const config = `ssl = ${options.tls !== undefined}, ssl_verify = false, max_retry = 1`;
      await answers(t, {
        path,
        lua: `
        local producer = require "resty.kafka.producer"
        local p = producer:new({ { ${at}${sasl('secret')} } }, { ${config} })
        local first = tonumber(assert(p:send("test", "key", "one")))
        ngx.say(tonumber(assert(p:send("test", "key", "two"))) - first)`,
        expected: ['1'],
      });
      t.equal(broker.connections, 1, 'authenticated once');
      if (mechanism === undefined) return;
      const server = await answers(t, {
        path,
        times: 1,
        lua: `
        local producer = require "resty.kafka.producer"
        ngx.say(producer:new({ { ${at}${sasl('wrong')} } }, { ${config} }):send("test", "key", "one"))`,
        expected: ['nilnot found topic'],
        errors: /\[(alert|crit|emerg)\]/,
      });
      t.match(
        server.errorLog(),
        new RegExp(`failed to do ${mechanism} auth with .*Authentication failed`),
      );
    });
  }
  t.end();
});
