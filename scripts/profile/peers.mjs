// Whom the server of a training run talks to: two HTTP servers to proxy to, and one that speaks in lines as redis does.
import http from 'node:http';
import net from 'node:net';

const value = Buffer.from(`$200\r\n${'v'.repeat(200)}\r\n`);
const sizes = { '1k': 1024, '100k': 100 * 1024 };

/** Answers their ports, and what closes them. */
export async function startPeers() {
  const servers = [http.createServer(answer), http.createServer(answer), net.createServer(speak)];
  for (const server of servers.slice(0, 2)) server.keepAliveTimeout = 300_000;
  const [backend, backend2, lines] = await Promise.all(servers.map(listen));
  const close = () => {
    for (const server of servers) {
      server.close();
      server.closeAllConnections?.();
    }
  };
  return { ports: { backend, backend2, lines }, close };
}

const listen = (server) =>
  new Promise((done) => {
    server.listen(0, '127.0.0.1', () => done(server.address().port));
  });

/** /1k, /100k: with a Content-Length, or in chunks with ?chunked; /echo: how long the request's body was. */
function answer(request, response) {
  const url = new URL(request.url, 'http://backend');
  const size = sizes[url.pathname.slice(1)];
  let got = 0;
  request.on('data', (data) => (got += data.length));
  request.on('end', () => {
    response.setHeader('Content-Type', 'text/plain');
    response.setHeader('X-Backend', 'training');
    response.setHeader('Cache-Control', 'max-age=60');
    if (url.pathname === '/echo') return response.end(String(got));
    if (!size) return response.writeHead(404).end('none');
    const body = Buffer.alloc(size, 'some text of a backend, ');
    if (!url.searchParams.has('chunked')) return response.end(body);
    const middle = size >> 1;
    response.write(body.subarray(0, middle));
    response.end(body.subarray(middle));
  });
}

/** A GET of two words, always in one piece, gets the value. */
function speak(socket) {
  socket.setNoDelay();
  socket.on('error', () => socket.destroy());
  socket.on('data', (data) => {
    for (let at = data.indexOf('*2\r\n'); at >= 0; at = data.indexOf('*2\r\n', at + 1))
      socket.write(value);
  });
}
