// One client for HTTP/1 and HTTP/2: what comes back, in the same form.
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import type { Readable, Writable } from 'node:stream';
import type { Running } from './servers.js';

export interface Reply {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly trailers: Record<string, string | string[] | undefined>;
  readonly body: string;
}
export interface Asked {
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string | Buffer | Readable;
}
/** A request under way. */
export interface Under {
  /** The answer's head and its body, as it comes. */
  readonly response: Promise<{
    status: number;
    headers: Record<string, string | string[] | undefined>;
    body: Readable;
    trailers(): Record<string, string | string[] | undefined>;
  }>;
  readonly body: Writable;
  abort(): void;
}

export class Client {
  private readonly agent: http.Agent;
  private session: http2.ClientHttp2Session | undefined;

  constructor(private readonly server: Running) {
    this.agent =
      server.protocol === 'https'
        ? new https.Agent({ keepAlive: true, ...(server.cert ? { ca: server.cert } : {}) })
        : new http.Agent({ keepAlive: true });
  }

  open(path: string, { method = 'GET', headers = {} }: Asked = {}): Under {
    const { protocol, port, cert } = this.server;
    if (protocol === 'http2') {
      this.session ??= http2.connect(`https://localhost:${port}`, {
        ...(cert === undefined ? {} : { ca: cert }),
        family: 4,
      } as http2.SecureClientSessionOptions);
      this.session.on('error', () => undefined);
      const stream = this.session.request(
        { ':method': method, ':path': path, ...headers },
        { endStream: false },
      );
      let trailers = {};
      stream.on('trailers', (all) => (trailers = all));
      stream.on('error', () => undefined);
      return {
        response: new Promise((done, fail) => {
          stream.on('error', fail);
          stream.on('close', () => fail(new Error(`closed ${stream.rstCode}`)));
          stream.on('response', ({ ':status': status = 0, ...rest }) =>
            done({ status, headers: rest, body: stream, trailers: () => trailers }),
          );
        }),
        body: stream,
        abort: () => stream.close(http2.constants.NGHTTP2_CANCEL),
      };
    }
    const request = (protocol === 'https' ? https : http).request({
      host: protocol === 'https' ? 'localhost' : '127.0.0.1',
      family: 4,
      port,
      path,
      method,
      headers,
      agent: this.agent,
    });
    return {
      response: new Promise((done, fail) => {
        request.on('error', fail);
        request.on('response', (message) => {
          message.on('error', () => undefined);
          done({
            status: message.statusCode ?? 0,
            headers: message.headers,
            body: message,
            trailers: () => message.trailers,
          });
        });
      }),
      body: request,
      abort: () => request.destroy(),
    };
  }

  async ask(path: string, asked: Asked = {}): Promise<Reply> {
    const under = this.open(path, asked);
    const { body } = asked;
    if (body === undefined || typeof body === 'string' || Buffer.isBuffer(body)) {
      under.body.end(body);
    } else {
      body.pipe(under.body);
    }
    const response = await under.response;
    const parts: Buffer[] = [];
    for await (const part of response.body) parts.push(part as Buffer);
    return {
      status: response.status,
      headers: response.headers,
      trailers: response.trailers(),
      body: Buffer.concat(parts).toString('latin1'),
    };
  }

  close(): void {
    this.agent.destroy();
    this.session?.destroy();
  }
}
