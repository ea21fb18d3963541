import t from 'tap';
import { Backoff } from '../../../lib/cluster/backoff.js';

t.test('a worker that dies young comes back more slowly, but within a second', async (t) => {
  const backoff = new Backoff();
  t.equal(backoff.next(60_000), 0);
  t.same(
    [10, 10, 10, 10, 10, 10, 10].map((lived) => backoff.next(lived)),
    [50, 100, 200, 400, 800, 800, 800],
  );
  t.equal(backoff.next(5000), 0, 'one that was healthy starts at once');
});
