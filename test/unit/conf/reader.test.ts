import t from 'tap';
import { Reader } from '../../../lib/conf/reader.js';
import { errorOf, http, location } from './helper.js';

function words(text: string): string[][] {
  const reader = new Reader('nginx.conf', text);
  const all: string[][] = [];
  for (;;) {
    const { words, end } = reader.next();
    if (end === 'eof') return all;
    all.push([...words, end]);
  }
}

t.test('words, quotes and escapes', async (t) => {
  t.same(words('a  b\tc\r\nd;'), [['a', 'b', 'c', 'd', ';']]);
  t.same(words(`a "b c" 'd "e"' "f 'g'";`), [['a', 'b c', 'd "e"', "f 'g'", ';']]);
  t.same(words(String.raw`a "b\"c" 'd\'e' f\ g h\;i j\\k;`), [
    ['a', 'b"c', "d'e", String.raw`f\ g`, String.raw`h\;i`, String.raw`j\k`, ';'],
  ]);
  t.same(words(String.raw`a "\t\r\n\x" \t;`), [['a', '\t\r\n\\x', '\t', ';']]);
  t.same(words('a "" \'\';'), [['a', '', '', ';']]);
  t.same(words('a b{ c; }'), [['a', 'b', '{'], ['c', ';'], ['}']]);
  t.same(words('a x"y" z;'), [['a', 'x"y"', 'z', ';']], 'quotes inside a word are part of it');
  t.same(words('if ($a = "x") {'), [['if', '($a', '=', 'x', ')', '{']], 'a quoted word before )');
});

t.test('variables keep their braces', async (t) => {
  t.same(words('a ${b}c $d{ }'), [['a', '${b}c', '$d', '{'], ['}']]);
});

t.test('comments', async (t) => {
  t.same(words('# a;\nb # c;\n d; # e'), [['b', 'd', ';']]);
  t.same(words('a b#c;'), [['a', 'b#c', ';']], 'not in the middle of a word');
});

t.test('bytes are characters', async (t) => {
  t.same(words('a \u00e9\u00ff;'), [['a', '\u00e9\u00ff', ';']]);
});

t.test('what nginx says about broken texts', async (t) => {
  const cases: [string, string][] = [
    ['a', 'unexpected end of file, expecting ";" or "}" in nginx.conf:1'],
    ['events {\n\n', 'unexpected end of file, expecting "}" in nginx.conf:3'],
    ['events {}\n}', 'unexpected "}" in nginx.conf:2'],
    ['events {};', 'unexpected ";" in nginx.conf:1'],
    ['{}', 'unexpected "{" in nginx.conf:1'],
    ['pid a }', 'unexpected "}" in nginx.conf:1'],
    ['pid "a"b;', 'unexpected "b" in nginx.conf:1'],
    ['pid "a', 'unexpected end of file, expecting ";" or "}" in nginx.conf:1'],
    [`\n${'x'.repeat(5000)};`, 'too long parameter "xxxxxxxxxx..." started in nginx.conf:2'],
    [
      `\npid "${'\n'.repeat(5000)}";`,
      'too long parameter, probably missing terminating """ character in nginx.conf:2',
    ],
    [
      `pid '${'x'.repeat(5000)}';`,
      'too long parameter, probably missing terminating "\'" character in nginx.conf:1',
    ],
  ];
  for (const [text, message] of cases)
    t.equal(errorOf(text), message, JSON.stringify(text.slice(0, 20)));
});

t.test('a word may have 4095 bytes', async (t) => {
  t.equal(errorOf(`pid ${'x'.repeat(4095)}; events {}`), 'no error');
});

t.test('Lua blocks', async (t) => {
  const block = (lua: string): string => {
    const reader = new Reader('nginx.conf', `content_by_lua_block {${lua}}\nend;`);
    reader.next();
    const text = reader.luaBlock();
    t.same(reader.next().words, ['end'], 'what follows is read as nginx');
    return text;
  };
  for (const lua of [
    ' ngx.say("hello") ',
    ' local a = {b = {}, c = {1, {2}}} ',
    ` a("}") b('}') c("\\"}") d('\\'}') `,
    ' a([[ } ]]) b([==[ ]] } ]==]) ',
    ' --}} {{\n a() ',
    ' --[[ } ]] a() --[==[ ]] }} ]==] ',
    ' a[b[1]] = "x" ',
    ' a([[ok--]]) b([==[ok-- ]==]) --[[ --]] c() ',
    `\n a = "${'x'.repeat(9000)}"\n${'-- {{{{\n'.repeat(2000)}`,
  ]) {
    t.equal(block(lua), lua);
  }
});

t.test('lines are counted through Lua blocks', async (t) => {
  const text = location('content_by_lua_block {\n--[[\n}\n]]\n"\\n"\n}\nfoo;');
  t.equal(errorOf(text), 'unknown directive "foo" in nginx.conf:12');
});

t.test('broken Lua blocks', async (t) => {
  t.equal(
    errorOf(location('content_by_lua_block {\n a([[x\n}')),
    'Lua code block missing the closing long bracket "]]", the inlined Lua code may be too long in nginx.conf:7',
  );
  t.equal(
    errorOf(location('content_by_lua_block {\n --[=[x ]]\n}')),
    'Lua code block missing the closing long bracket "]=]", the inlined Lua code may be too long in nginx.conf:7',
  );
  t.match(
    errorOf(location(`content_by_lua_block {\n a([[${'x'.repeat(5000)}]])\n}`)),
    'Lua code block missing the closing long bracket "]]"',
    'beyond the buffer of nginx',
  );
  t.equal(
    errorOf(location('content_by_lua_block { {{{{{ ')),
    'unexpected end of file, expecting terminating characters for lua code block in nginx.conf:6',
  );
  t.equal(
    errorOf(http('init_by_lua_block x {}')),
    'invalid number of arguments in "init_by_lua_block" directive in nginx.conf:3',
  );
  t.equal(
    errorOf(http('init_by_lua_block;')),
    'directive "init_by_lua_block" has no opening "{" in nginx.conf:3',
  );
});
