import { readFileSync, renameSync } from 'node:fs';
import t from 'tap';
import { ErrorLog } from '../../../lib/cluster/log.js';

t.test("lines are nginx's, by level, and follow a rotated file", async (t) => {
  const file = `${t.testdir()}/error.log`;
  const log = ErrorLog.open(file);
  log.terminal = false;
  log.write('notice', 'one');
  log.write('debug', 'not this');
  log.write('emerg', 'two \xe9');
  const text = readFileSync(file, 'latin1');
  const lines = text.trimEnd().split('\n');
  t.equal(lines.length, 2);
  const at = String.raw`^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d`;
  t.match(lines[0], new RegExp(String.raw`${at} \[notice\] ${process.pid}#${process.pid}: one$`));
  t.match(lines[1], new RegExp(String.raw`${at} \[emerg\] \d+#\d+: two \xe9$`));
  renameSync(file, `${file}.1`);
  log.reopen();
  log.write('error', 'three');
  t.match(readFileSync(file, 'latin1'), /three\n$/);
  log.close();
});
