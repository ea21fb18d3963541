import t from 'tap';
import {
  nameServersOf,
  parseRestyOptions,
  restyConfiguration,
  type RestyOptions,
} from '../../../lib/cli/resty-options.js';

function parse(...args: string[]): RestyOptions {
  const options = parseRestyOptions(args);
  if ('error' in options) throw new Error(options.error);
  return options;
}

t.test('a file and its arguments', async (t) => {
  t.match(parse('-I', 'lib', 'a.lua', '-x', 'b'), {
    directories: ['lib'],
    file: 'a.lua',
    args: ['-x', 'b'],
    inline: [],
    connections: 64,
    errorLevel: 'warn',
  });
});

t.test('inline code leaves all else to its arguments', async (t) => {
  const options = parse('-e', 'a()', '-eb()', '--errlog-level=debug', '-c100', 'x', '-e');
  t.match(options, {
    inline: ['a()', 'b()'],
    args: ['x', '-e'],
    connections: 100,
    errorLevel: 'debug',
  });
  t.equal(options.file, undefined);
  t.match(parse('-e', '', '--', '-v'), { inline: [''], args: ['-v'], version: false });
});

t.test('what is wrong', async (t) => {
  const error = (...args: string[]): unknown => parseRestyOptions(args);
  t.match(error('--what'), { error: /unknown argument/ });
  t.match(error('-e'), { error: /takes an argument/ });
  t.match(error('-c', 'many'), { error: /option -c many/ });
  t.match(error('--shdict', 'dogs'), { error: /--shdict dogs/ });
  t.match(error('--errlog-level', 'loud'), { error: /loud/ });
  t.match(error('--stream'), { error: /--stream is not supported/ });
});

t.test('the configuration', async (t) => {
  const options = parse(
    ...['-I', 'a "b"', '--shdict', 'dogs 1m', '--http-conf', 'server_tokens off'],
    ...['--main-conf', 'env X;', '--http-include', '/x/y.conf', 'f.lua'],
  );
  const text = restyConfiguration(options, ['1.1.1.1', '[::1]']);
  for (const line of [
    'resolver 1.1.1.1 [::1] ipv6=off;',
    'lua_shared_dict dogs 1m;',
    'server_tokens off;',
    'env X;',
    'include "/x/y.conf";',
    'lua_package_path "a \\"b\\"/?.ljbc;a \\"b\\"/?.lua;a \\"b\\"/?/init.ljbc;a \\"b\\"/?/init.lua;;";',
  ]) {
    t.ok(text.split('\n').includes(line), line);
  }
  t.match(
    restyConfiguration(parse('--ns', '9.9.9.9', '--resolve-ipv6', 'f'), ['1.1.1.1']),
    /resolver 9\.9\.9\.9;/,
  );
});

t.test('name servers of the system', async (t) => {
  t.same(nameServersOf('# x\nsearch a\nnameserver 10.0.0.2\n nameserver fe80::1%eth0\n'), [
    '10.0.0.2',
    '[fe80::1]',
  ]);
});
