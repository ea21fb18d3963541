// examples/gateway with real backends, some of which misbehave, under load and reloads: who asks must not notice. Used by
// gateway.test.ts in short and by `npm run soak` in full: node test/examples/gateway.mjs --reloads=100
import { spawn } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePort } from '../../bench/place.mjs';

const root = path.dirname(path.dirname(path.dirname(fileURLToPath(import.meta.url))));
export const TOKEN = 'secret-of-ada';

/** A server that names itself, and echoes what WebSockets send. */
export class Backend {
  constructor(name, port) {
    this.name = name;
    this.port = port;
    /** How long an answer takes. */
    this.delay = 0;
    this.sockets = new Set();
  }

  start() {
    const server = http.createServer((req, res) => {
      this.served = (this.served ?? 0) + 1;
      setTimeout(() => {
        res.setHeader('X-Backend', this.name);
        res.end(`${this.name} ${req.headers['x-user']} ${req.url}`);
      }, this.delay);
    });
    server.on('connection', (socket) => {
      this.sockets.add(socket);
      socket.on('close', () => this.sockets.delete(socket));
    });
    server.on('upgrade', (req, socket) => {
      const accept = crypto
        .createHash('sha1')
        .update(`${req.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
        .digest('base64');
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
          `Sec-WebSocket-Accept: ${accept}\r\nX-User: ${req.headers['x-user']}\r\n\r\n`,
      );
      socket.on('data', (data) => socket.write(unmask(data)));
      socket.on('error', () => undefined);
    });
    this.server = server;
    return new Promise((done) => server.listen(this.port, '127.0.0.1', done));
  }

  /** As a killed process: nothing is answered any more, connections break. */
  async kill() {
    for (const socket of this.sockets) socket.resetAndDestroy();
    await new Promise((done) => this.server.close(done));
  }
}

/** A client's frame as the server's: without the mask. */
function unmask(frame) {
  const size = frame[1] & 0x7f;
  const mask = frame.subarray(2, 6);
  const data = Buffer.from(frame.subarray(6, 6 + size)).map((byte, i) => byte ^ mask[i % 4]);
  return Buffer.concat([Buffer.from([frame[0], size]), data]);
}

/** A WebSocket through the gateway: `send` resolves with what comes back. */
export function webSocket(port, target) {
  return new Promise((done, failed) => {
    const req = http.request({
      port,
      path: target,
      headers: {
        Connection: 'Upgrade',
        Upgrade: 'websocket',
        'Sec-WebSocket-Version': '13',
        'Sec-WebSocket-Key': crypto.randomBytes(16).toString('base64'),
      },
    });
    req.on('error', failed);
    req.on('response', (res) => failed(new Error(String(res.statusCode))));
    req.on('upgrade', (res, socket) => {
      socket.on('error', () => undefined);
      done({
        user: res.headers['x-user'],
        socket,
        send: (text) =>
          new Promise((got, lost) => {
            const mask = crypto.randomBytes(4);
            const data = Buffer.from(text).map((byte, i) => byte ^ mask[i % 4]);
            const closed = () => lost(new Error('closed'));
            socket.once('close', closed);
            socket.once('data', (frame) => {
              socket.off('close', closed);
              got(frame.subarray(2).toString());
            });
            socket.write(Buffer.concat([Buffer.from([0x81, 0x80 | data.length]), mask, data]));
          }),
      });
    });
    req.end();
  });
}

export class Gateway {
  static async start() {
    const gateway = new Gateway();
    gateway.prefix = fs.mkdtempSync(path.join(os.tmpdir(), 'gateway-'));
    fs.cpSync(path.join(root, 'examples/gateway'), gateway.prefix, { recursive: true });
    fs.mkdirSync(path.join(gateway.prefix, 'logs'));
    const [port, admin, ...ports] = await Promise.all(Array.from({ length: 7 }, () => freePort()));
    Object.assign(gateway, { port, admin, ports });
    const conf = path.join(gateway.prefix, 'conf/nginx.conf');
    fs.writeFileSync(
      conf,
      `user root;\ndaemon off;\npid logs/nginx.pid;\n${fs
        .readFileSync(conf, 'latin1')
        .replace('listen 8086', `listen 127.0.0.1:${port}`)
        .replace('127.0.0.1:8087', `127.0.0.1:${admin}`)
        .replace('127.0.0.1:9001', `127.0.0.1:${ports[0]}`)
        .replace('127.0.0.1:9002', `127.0.0.1:${ports[1]}`)}`,
    );
    const env = { ...process.env };
    delete env.NODE_OPTIONS;
    gateway.child = spawn(
      path.join(root, 'bin/moonphase-nginx'),
      ['-p', `${gateway.prefix}/`, '-c', 'conf/nginx.conf', '-e', 'logs/error.log'],
      { env, stdio: 'inherit' },
    );
    for (let i = 0; ; i++) {
      try {
        await gateway.get('/live', { port: admin });
        return gateway;
      } catch (error) {
        if (i > 200) throw error;
        await sleep(50);
      }
    }
  }

  /** One request on a connection of its own, or of `agent`. */
  get(target, { port = this.port, token = TOKEN, method = 'GET', body, agent } = {}) {
    return new Promise((done, failed) => {
      const headers = token ? { Authorization: `Bearer ${token}` } : {};
      const req = http.request({ port, path: target, method, headers, agent, timeout: 20000 });
      req.on('error', failed);
      req.on('timeout', () => req.destroy(new Error('timeout')));
      req.on('response', (res) => {
        let text = '';
        res.on('data', (data) => (text += data));
        res.on('error', failed);
        res.on('end', () => done({ status: res.statusCode, headers: res.headers, text }));
      });
      req.end(body);
    });
  }

  /** The servers of a group, for all workers. */
  put(name, servers) {
    const body = JSON.stringify({ servers });
    return this.get(`/upstreams/${name}`, { port: this.admin, method: 'PUT', body });
  }

  reload() {
    this.child.kill('SIGHUP');
  }

  /** Pids of the workers that serve, those that drain included. */
  workers() {
    return fs
      .readFileSync(`/proc/${this.child.pid}/task/${this.child.pid}/children`, 'latin1')
      .trim()
      .split(/\s+/)
      .filter(Boolean)
      .map(Number);
  }

  errorLog() {
    return fs.readFileSync(path.join(this.prefix, 'logs/error.log'), 'latin1');
  }

  accessLog() {
    const text = fs.readFileSync(path.join(this.prefix, 'logs/access.json'), 'utf8');
    return text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
  }

  async stop() {
    const ended = new Promise((done) => this.child.once('exit', done));
    this.child.kill('SIGQUIT');
    const timer = setTimeout(() => this.child.kill('SIGKILL'), 10000);
    await ended;
    clearTimeout(timer);
    fs.rmSync(this.prefix, { recursive: true, force: true });
  }
}

/** Clients that ask without a pause until `until` resolves; what was not a 200 is returned. */
export async function load(gateway, clients, until) {
  let over = false;
  let requests = 0;
  const failures = [];
  void until.then(() => (over = true));
  const client = async (i) => {
    const agent = new http.Agent({ keepAlive: i % 2 === 0, maxSockets: 1 });
    while (!over) {
      const target = i % 3 === 0 ? '/orders/1' : '/users/1';
      try {
        const answer = await gateway.get(target, { agent });
        if (answer.status !== 200) failures.push(`${target} ${answer.status}`);
      } catch (error) {
        // A kept connection that the worker closes as it drains, at the moment it is used, is the client's to repeat.
        if (error.code === 'ECONNRESET' && i % 2 === 0) continue;
        failures.push(`${target} ${error.message}`);
      }
      ++requests;
    }
    agent.destroy();
  };
  await Promise.all(Array.from({ length: clients }, (_, i) => client(i)));
  return { requests, failures };
}

/** All of it: reloads, a backend killed and started again, slow, gone; a WebSocket that lives through it. */
export async function chaos({ reloads, clients = 8, log = () => undefined }) {
  const gateway = await Gateway.start();
  const backends = gateway.ports.slice(0, 4).map((port, i) => new Backend(`b${i}`, port));
  await Promise.all(backends.map((backend) => backend.start()));
  const at = (i) => ({ address: `127.0.0.1:${backends[i].port}`, max_fails: 1, fail_timeout: 1 });
  await gateway.put('users', [at(0), at(2), at(3)]);
  await gateway.put('orders', [at(1), at(2), at(3)]);
  const ws = await webSocket(gateway.port, `/ws?token=${TOKEN}`);
  let lost = 0;
  let echoed = 0;
  let done;
  const until = new Promise((resolve) => (done = resolve));
  const loading = load(gateway, clients, until);
  const talking = (async () => {
    let open = true;
    void until.then(() => (open = false));
    while (open) {
      const text = `hello ${echoed}`;
      if ((await ws.send(text).catch(() => undefined)) !== text) {
        ++lost;
        break;
      }
      ++echoed;
      await sleep(20);
    }
  })();
  const victim = backends[2];
  for (let i = 0; i < reloads; i++) {
    gateway.reload();
    await sleep(150);
    if (i % 4 === 0) {
      await victim.kill();
      await sleep(100);
      await victim.start();
    } else if (i % 4 === 1) {
      backends[3].delay = 60;
    } else if (i % 4 === 2) {
      backends[3].delay = 0;
      await gateway.put('users', i % 8 === 2 ? [at(0), at(3)] : [at(0), at(2), at(3)]);
    }
    await sleep(250);
    if (i % 10 === 9) log(`${i + 1} reloads, ${echoed} messages`);
  }
  await sleep(500);
  done();
  const { requests, failures } = await loading;
  await talking;
  ws.socket.destroy();
  const errors = gateway.errorLog().match(/\[(alert|emerg|crit)\].*/g) ?? [];
  const logged = gateway.accessLog().length;
  await gateway.stop();
  for (const backend of backends) await backend.kill();
  return { requests, failures, lost, echoed, errors, logged };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const reloads = Number(/--reloads=(\d+)/.exec(process.argv.join(' '))?.[1] ?? 100);
  const result = await chaos({ reloads, log: console.log });
  console.log(
    `${result.requests} requests, ${result.failures.length} failed; ${result.echoed} messages, ${result.lost} lost`,
  );
  for (const line of [...result.failures, ...result.errors].slice(0, 20)) console.log(line);
  process.exitCode = result.failures.length + result.lost + result.errors.length > 0 ? 1 : 0;
}
