// The snippets of README and guide do what they say.
import fs from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { root } from '../helpers/server.js';
import { Place, sections } from './snippets.js';

const only = process.env['SECTION'];
for (const file of ['README.md', 'docs/guide.md']) {
  const text = fs.readFileSync(path.join(root, file), 'utf8');
  for (const { title, blocks } of sections(text)) {
    if (only !== undefined && !title.includes(only)) continue;
    t.test(`${file}: ${title}`, async (t) => {
      const place = await Place.make();
      t.teardown(() => place.close());
      for (const block of blocks) {
        t.equal(await place.run(block), undefined, `${file}:${block.line} (${block.kind})`);
      }
    });
  }
}
