// The part of a training run where Lua is in a process of somebody else's: handlers before routes of Node's http, and
// calls between JavaScript and Lua. Prints its port; ends with its standard input. `train.mjs` starts it.
import http from 'node:http';
import { LuaVM, createGateway } from '../../dist/index.js';

const gateway = await createGateway({
  locations: [
    {
      path: '/route',
      rewriteByLua: 'ngx.ctx.agent = ngx.var.http_user_agent or "none"',
      accessByLua: `
        if ngx.req.get_headers()["x-token"] ~= "secret" then return ngx.exit(401) end
        ngx.req.set_header("X-User", "u-" .. (ngx.var.arg_id or 0))`,
      logByLua: 'ngx.ctx.status = ngx.status',
    },
    {
      path: '/filtered',
      headerFilterByLua: 'ngx.header.content_length = nil ngx.header["X-Filtered"] = "yes"',
      bodyFilterByLua: 'ngx.arg[1] = ngx.arg[1]:upper()',
    },
    { path: '/lua/hello', contentByLua: 'ngx.say("hello")' },
    { path: '/lua/body', contentByLua: 'ngx.req.read_body() ngx.say(#ngx.req.get_body_data())' },
  ],
});

const vm = new LuaVM({
  globals: { host: (n) => n + 1, later: async (n) => n * 2, pass: (object) => object },
});
const lua = {
  add: vm.eval('return function(a, b) return a + b end'),
  same: vm.eval('return function(x) return x end'),
  total: vm.eval(
    'return function(o) local n = 0 for _, e in ipairs(o.list) do n = n + e.price * e.count end return n, o.name end',
  ),
  make: vm.eval(
    'return function(n) local t = {} for i = 1, n do t[i] = { id = i, name = "n" .. i } end return { list = t, n = n } end',
  ),
  back: vm.eval(
    'return function(n) for i = 1, n do host(i) end return pass({ a = n, b = { "x" } }).a end',
  ),
  wait: vm.eval('return function(n) local m = later(n) ngx.sleep(0) return m + later(n) end'),
};
const order = {
  name: 'an order',
  paid: false,
  list: Array.from({ length: 8 }, (_, i) => ({ sku: `sku-${i}`, price: i * 1.5, count: i })),
};

/** A batch of calls both ways, each of which takes about as long as the others together. */
async function calls() {
  let sum = 0;
  for (let i = 0; i < 500; ++i) sum += lua.add(i, 1.5);
  for (let i = 0; i < 20; ++i) sum += lua.same(order).list.length + lua.total(order);
  for (let i = 0; i < 10; ++i) sum += lua.make(5).list.length + lua.back(10);
  const waited = await Promise.all([1, 2, 3, 4, 5].map((n) => lua.wait(n)));
  if (!(sum > 0) || waited[4] !== 20) throw new Error(`the calls gave ${sum}, ${waited}`);
}

const server = http.createServer((request, response) =>
  gateway.handler(request, response, () => {
    const answer = (text) => {
      response.setHeader('Content-Type', 'text/plain');
      response.end(text);
    };
    if (request.url !== '/calls') return answer('route\n');
    calls().then(
      () => answer('called\n'),
      (error) => answer(`${error.stack}\n`),
    );
  }),
);
server.keepAliveTimeout = 300_000;
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.resume().on('end', () => process.exit(0));
