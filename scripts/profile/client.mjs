// The client of a training run: HTTP/1 on kept connections, in the clear and over TLS, and HTTP/2.
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import net from 'node:net';

const wait = 60_000;

/** `ports`: http, tls, h2c. What it answers is `{ status, headers, text, size }`. */
export class Client {
  agents = {
    http: new http.Agent({ keepAlive: true, maxSockets: 32 }),
    https: new https.Agent({ keepAlive: true, maxSockets: 32, rejectUnauthorized: false }),
  };
  sessions = {};

  constructor(ports) {
    this.ports = ports;
  }

  get(path, options = {}) {
    return this.#send(http, this.agents.http, options.port ?? this.ports.http, path, options);
  }

  /** `fresh`: with a handshake of its own. */
  secure(path, options = {}) {
    const agent = options.fresh ? new https.Agent({ maxCachedSessions: 0 }) : this.agents.https;
    const more = { rejectUnauthorized: false, servername: 'training.test', ...options };
    return this.#send(https, agent, this.ports.tls, path, more);
  }

  #send(module, agent, port, path, { body, chunked, ...options }) {
    return new Promise((done, fail) => {
      const request = module.request(
        { host: '127.0.0.1', port, path, agent, timeout: wait, ...options },
        (response) => {
          const parts = [];
          response.on('data', (data) => parts.push(data));
          response.on('error', fail);
          response.on('end', () =>
            done(result(response.statusCode, response.headers, Buffer.concat(parts))),
          );
        },
      );
      request.on('timeout', () => request.destroy(new Error(`no answer for ${wait / 1000} s`)));
      request.on('error', fail);
      if (chunked) for (const part of body) request.write(part);
      request.end(chunked ? undefined : body);
    });
  }

  /** Over HTTP/2; `kind` is tls or h2c. */
  multiplexed(kind, path, headers = {}, body) {
    this.sessions[kind] ??= http2.connect(
      `${kind === 'tls' ? 'https' : 'http'}://127.0.0.1:${this.ports[kind]}`,
      { rejectUnauthorized: false },
    );
    return new Promise((done, fail) => {
      const stream = this.sessions[kind].request(
        { ':path': path, ':method': body ? 'POST' : 'GET', ...headers },
        { endStream: !body },
      );
      let head;
      const parts = [];
      stream.setTimeout(wait, () => stream.destroy(new Error(`no answer for ${wait / 1000} s`)));
      stream.on('response', (given) => (head = given));
      stream.on('data', (data) => parts.push(data));
      stream.on('error', fail);
      stream.on('end', () => done(result(head?.[':status'], head, Buffer.concat(parts))));
      if (body) stream.end(body);
    });
  }

  /** `count` requests at once on a connection that ends with them. */
  pipelined(path, count) {
    return new Promise((done, fail) => {
      const socket = net.connect(this.ports.http, '127.0.0.1');
      const head = `GET ${path} HTTP/1.1\r\nHost: localhost\r\n`;
      let text = '';
      socket.setTimeout(wait, () => socket.destroy(new Error(`no answer for ${wait / 1000} s`)));
      socket.setEncoding('latin1');
      socket.on('error', fail);
      socket.on('data', (data) => (text += data));
      socket.on('end', () => done({ answers: text.split('HTTP/1.1 200 OK').length - 1 }));
      socket.write(`${head}\r\n`.repeat(count - 1) + `${head}Connection: close\r\n\r\n`);
    });
  }

  close() {
    for (const agent of Object.values(this.agents)) agent.destroy();
    for (const session of Object.values(this.sessions)) session.destroy();
  }
}

const result = (status, headers, data) => ({
  status,
  headers,
  size: data.length,
  text: data.toString('latin1'),
});
