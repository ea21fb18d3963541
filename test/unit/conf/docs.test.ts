import { readFileSync, writeFileSync } from 'node:fs';
import t from 'tap';
import * as contexts from '../../../lib/conf/directive.js';
import type { Directive } from '../../../lib/conf/directive.js';
import { NATIVE_PENDING } from '../../../lib/conf/support.js';
import { MODULES, TABLE } from '../../../lib/conf/table.js';

// docs/directives.md is made from the tables: UPDATE_DOCS=1 writes it anew.

const FILE = new URL('../../../docs/directives.md', import.meta.url);

const PLACES: [number, string][] = [
  [contexts.MAIN, 'main'],
  [contexts.EVENTS, 'events'],
  [contexts.HTTP, 'http'],
  [contexts.UPSTREAM, 'upstream'],
  [contexts.SERVER, 'server'],
  [contexts.SERVER_IF, 'if in server'],
  [contexts.LOCATION, 'location'],
  [contexts.LOCATION_IF, 'if in location'],
  [contexts.LIMIT_EXCEPT, 'limit_except'],
];

function places(row: Directive): string {
  if (row.in === contexts.ANY) return 'anywhere';
  return PLACES.filter(([bit]) => (row.in & bit) !== 0)
    .map(([, name]) => name)
    .join(', ');
}

function document(): string {
  const rows = [...TABLE.values()].flat();
  const byName = (a: Directive, b: Directive): number =>
    a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
  const isPending = ({ name, later }: Directive): boolean =>
    later === true || NATIVE_PENDING.has(name);
  const ignored = rows.filter((r) => r.ignored !== undefined).sort(byName);
  const pending = [...new Set(rows.filter(isPending).map((r) => r.name))].sort();
  const sections = MODULES.map(({ name, rows: own }) => {
    const supported = own.filter((r) => !isPending(r) && r.ignored === undefined);
    if (supported.length === 0) return '';
    const lines = supported.sort(byName).map((r) => `| \`${r.name}\` | ${places(r)} |`);
    return `### ${name}\n\n| directive | where |\n| --- | --- |\n${lines.join('\n')}\n`;
  });
  return `# Directives of nginx.conf

What Moonphase does with each directive that it knows. Every other one is refused as nginx refuses it:
\`unknown directive "foo" in FILE:LINE\`.

## Supported

${sections.filter(Boolean).join('\n')}
## Not supported yet

Refused at load with \`"NAME" directive is not supported yet in FILE:LINE\`:

${pending.map((name) => `\`${name}\``).join(', ')}.

## Without effect

Accepted, since configurations have them, and ignored: they tune something that Moonphase does otherwise.

| directive | why |
| --- | --- |
${ignored.map((r) => `| \`${r.name}\` | ${r.ignored ?? ''} |`).join('\n')}
`;
}

t.test('docs/directives.md is what the tables say', async (t) => {
  const text = document();
  if (process.env['UPDATE_DOCS'] !== undefined) writeFileSync(FILE, text);
  const plain = (s: string): string => s.replaceAll(/ +/g, ' ').replaceAll(/-{3,}/g, '---');
  t.equal(plain(readFileSync(FILE, 'utf8')), plain(text));
});
