// The bench's handlers on Node's own http server: node node-http.mjs PORT
import http from 'node:http';

let requests = 0;
http
  .createServer((req, res) => {
    const url = new URL(req.url, 'http://localhost');
    if (url.pathname === '/hello') {
      res.setHeader('Content-Type', 'text/plain');
      res.end('hello, world\n');
      return;
    }
    if (req.headers['x-token'] !== 'secret') {
      res.statusCode = 401;
      res.end();
      return;
    }
    res.setHeader('Content-Type', 'application/json');
    res.setHeader('X-Request-Count', ++requests);
    const page = Number(url.searchParams.get('page')) || 1;
    const user = `u-${url.searchParams.get('id')}`;
    res.end(`{"user":"${user}","method":"${req.method}","page":${page},"uri":"${url.pathname}"}\n`);
  })
  .listen(Number(process.argv[2]), '127.0.0.1');
