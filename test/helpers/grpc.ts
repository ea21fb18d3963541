// gRPC at both ends: a service whose messages are texts, and its client.
import * as grpc from '@grpc/grpc-js';

const text = (name: string, requestStream: boolean, responseStream: boolean) => ({
  path: `/test.Echo/${name}`,
  requestStream,
  responseStream,
  requestSerialize: (value: string) => Buffer.from(value),
  requestDeserialize: (bytes: Buffer) => bytes.toString(),
  responseSerialize: (value: string) => Buffer.from(value),
  responseDeserialize: (bytes: Buffer) => bytes.toString(),
});

export const SERVICE = {
  Unary: text('Unary', false, false),
  Upload: text('Upload', true, false),
  Download: text('Download', false, true),
  Chat: text('Chat', true, true),
};

export interface Backend {
  readonly port: number;
  readonly server: grpc.Server;
  /** Connections that were made. */
  connections(): number;
  stop(): void;
}

/**
 * Unary answers `NAME:text`; a text `fail` is an error with metadata, `sleep` an answer that never comes. Upload counts
 * bytes, Download answers as many messages as it is asked for, Chat answers each message.
 */
export async function startBackend(
  name: string,
  options: { credentials?: grpc.ServerCredentials; path?: string } = {},
): Promise<Backend> {
  const server = new grpc.Server({ 'grpc.max_receive_message_length': 1 << 26 });
  const peers = new Set<string>();
  server.addService(SERVICE, {
    Unary(call: grpc.ServerUnaryCall<string, string>, done: grpc.sendUnaryData<string>) {
      peers.add(call.getPeer());
      const trailer = new grpc.Metadata();
      trailer.set('x-trailer', `after ${name}`);
      if (call.request === 'sleep') return;
      if (call.request === 'fail') {
        trailer.set('x-why', 'because');
        done({ code: grpc.status.FAILED_PRECONDITION, details: 'no, thanks', metadata: trailer });
        return;
      }
      const head = new grpc.Metadata();
      for (const [key, value] of Object.entries(call.metadata.getMap()))
        if (key.startsWith('x-')) head.set(`echo-${key}`, value);
      head.set('x-head', name);
      call.sendMetadata(head);
      done(null, `${name}:${call.request}`, trailer);
    },
    Upload(call: grpc.ServerReadableStream<string, string>, done: grpc.sendUnaryData<string>) {
      peers.add(call.getPeer());
      let bytes = 0;
      let messages = 0;
      call.on('data', (message: string) => {
        bytes += message.length;
        ++messages;
      });
      call.on('end', () => {
        done(null, `${messages} ${bytes}`);
      });
      call.on('error', () => undefined);
    },
    Download(call: grpc.ServerWritableStream<string, string>) {
      peers.add(call.getPeer());
      const [count = 0, size = 0] = call.request.split(' ').map(Number);
      let sent = 0;
      const more = (): void => {
        while (sent < count) {
          ++sent;
          if (!call.write(String(sent).padEnd(size, '.'))) {
            call.once('drain', more);
            return;
          }
        }
        call.end();
      };
      call.on('error', () => undefined);
      more();
    },
    Chat(call: grpc.ServerDuplexStream<string, string>) {
      peers.add(call.getPeer());
      call.on('data', (message: string) => {
        call.write(`${name}:${message}`);
      });
      call.on('end', () => {
        call.end();
      });
      call.on('error', () => undefined);
    },
  });
  const port = await new Promise<number>((done, fail) => {
    server.bindAsync(
      options.path ?? '127.0.0.1:0',
      options.credentials ?? grpc.ServerCredentials.createInsecure(),
      (error, bound) => {
        if (error) fail(error);
        else done(bound);
      },
    );
  });
  return {
    port,
    server,
    connections: () => peers.size,
    stop: () => {
      server.forceShutdown();
    },
  };
}

type Method = keyof typeof SERVICE;
const EchoClient = grpc.makeGenericClientConstructor(SERVICE, 'Echo');

export interface Answer {
  /** grpc-status: 0 is fine. */
  code: number;
  details: string;
  message: string | undefined;
  head: grpc.Metadata;
  trailer: grpc.Metadata;
}

export class Client {
  private readonly client: grpc.Client;
  constructor(port: number, credentials = grpc.credentials.createInsecure()) {
    this.client = new EchoClient(`127.0.0.1:${port}`, credentials, {
      'grpc.max_receive_message_length': 1 << 26,
    });
  }

  private definition(method: Method) {
    return SERVICE[method];
  }

  unary(
    message: string,
    fields: Readonly<Record<string, string>> = {},
    options: grpc.CallOptions = {},
    path = SERVICE.Unary.path,
  ): Promise<Answer> {
    const d = this.definition('Unary');
    return new Promise((done) => {
      let head = new grpc.Metadata();
      let got: string | undefined;
      const metadata = new grpc.Metadata();
      for (const [key, value] of Object.entries(fields)) metadata.set(key, value);
      const call = this.client.makeUnaryRequest(
        path,
        d.requestSerialize,
        d.responseDeserialize,
        message,
        metadata,
        options,
        (_, value) => (got = value),
      );
      call.on('metadata', (m) => (head = m));
      call.on('status', ({ code, details, metadata: trailer }) => {
        // the callback comes after the status
        setImmediate(() => {
          done({ code, details, message: got, head, trailer });
        });
      });
    });
  }

  upload(messages: Iterable<string>): Promise<Answer> {
    const d = this.definition('Upload');
    return new Promise((done) => {
      let got: string | undefined;
      const call = this.client.makeClientStreamRequest(
        d.path,
        d.requestSerialize,
        d.responseDeserialize,
        new grpc.Metadata(),
        (_: grpc.ServiceError | null, value?: string) => (got = value),
      );
      call.on('status', ({ code, details, metadata: trailer }) => {
        setImmediate(() => {
          done({ code, details, message: got, head: new grpc.Metadata(), trailer });
        });
      });
      const all = messages[Symbol.iterator]();
      const more = (): void => {
        for (let next = all.next(); ; next = all.next()) {
          if (next.done === true) {
            call.end();
            return;
          }
          if (!call.write(next.value)) {
            call.once('drain', more);
            return;
          }
        }
      };
      more();
    });
  }

  download(request: string): grpc.ClientReadableStream<string> {
    const d = this.definition('Download');
    return this.client.makeServerStreamRequest(
      d.path,
      d.requestSerialize,
      d.responseDeserialize,
      request,
    );
  }

  chat(options: grpc.CallOptions = {}): grpc.ClientDuplexStream<string, string> {
    const d = this.definition('Chat');
    return this.client.makeBidiStreamRequest(
      d.path,
      d.requestSerialize,
      d.responseDeserialize,
      options,
    );
  }

  close(): void {
    this.client.close();
  }
}

/** All that a stream of answers says, and how it ends. */
export function collect(
  call: grpc.ClientReadableStream<string> | grpc.ClientDuplexStream<string, string>,
): Promise<{ messages: string[]; code: number }> {
  return new Promise((done) => {
    const messages: string[] = [];
    call.on('data', (message: string) => messages.push(message));
    call.on('error', () => undefined);
    call.on('status', ({ code }: { code: number }) => {
      setImmediate(() => {
        done({ messages, code });
      });
    });
  });
}
