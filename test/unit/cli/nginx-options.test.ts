import t from 'tap';
import {
  nginxPaths,
  parseNginxOptions,
  type NginxOptions,
} from '../../../lib/cli/nginx-options.js';

function parse(...args: string[]): NginxOptions {
  const options = parseNginxOptions(args);
  if ('error' in options) throw new Error(options.error);
  return options;
}

t.test('flags with values, joined or apart', async (t) => {
  const a = parse('-p', '/srv/', '-c', 'x.conf', '-e', 'stderr', '-g', 'daemon off;');
  t.match(a, { prefix: '/srv/', conf: 'x.conf', errorLog: '', params: 'daemon off;', test: false });
  t.match(parse('-p/srv', '-cx.conf'), { prefix: '/srv', conf: 'x.conf' });
});

t.test('flags may stand together', async (t) => {
  t.match(parse('-tq'), { test: true, quiet: true, dump: false });
  t.match(parse('-T'), { test: true, dump: true });
  t.match(parse('-Vt'), { version: true, configure: true, test: true });
  t.match(parse('-?'), { help: true, version: true, configure: false });
  t.match(parse('-qs', 'reload'), { quiet: true, signal: 'reload' });
});

t.test("errors are nginx's", async (t) => {
  const error = (...args: string[]): unknown => parseNginxOptions(args);
  t.same(error('x'), { error: 'invalid option: "x"' });
  t.same(error('-x'), { error: 'invalid option: "x"' });
  t.same(error('-p'), { error: 'option "-p" requires directory name' });
  t.same(error('-c'), { error: 'option "-c" requires file name' });
  t.same(error('-e'), { error: 'option "-e" requires file name' });
  t.same(error('-tg'), { error: 'option "-g" requires parameter' });
  t.same(error('-s'), { error: 'option "-s" requires parameter' });
  t.same(error('-s', 'restart'), { error: 'invalid option: "-s restart"' });
});

t.test('paths', async (t) => {
  t.same(nginxPaths(parse(), '/home/me'), {
    prefix: '/home/me/',
    conf: '/home/me/conf/nginx.conf',
    errorLog: '/home/me/logs/error.log',
  });
  t.same(nginxPaths(parse('-p', 't', '-c', 'a.conf', '-e', 'stderr'), '/home/me'), {
    prefix: '/home/me/t/',
    conf: '/home/me/t/a.conf',
    errorLog: '',
  });
  t.same(nginxPaths(parse('-p', './', '-c', '/etc/a.conf', '-e', '/x.log'), '/home/me'), {
    prefix: '/home/me/',
    conf: '/etc/a.conf',
    errorLog: '/x.log',
  });
});
