import t from 'tap';
import { parseOffset, parseSeconds, parseSize, parseTime } from '../../../lib/conf/numbers.js';

t.test('sizes', async (t) => {
  const cases: [string, number | undefined, number | undefined][] = [
    ['0', 0, 0],
    ['10', 10, 10],
    ['8k', 8192, 8192],
    ['2M', 2097152, 2097152],
    ['1g', undefined, 1073741824],
    ['', undefined, undefined],
    ['k', undefined, undefined],
    ['-1', undefined, undefined],
    ['1x', undefined, undefined],
    ['99999999999999999999', undefined, undefined],
  ];
  for (const [text, size, offset] of cases) {
    t.equal(parseSize(text), size, text);
    t.equal(parseOffset(text), offset, text);
  }
});

t.test('times in milliseconds', async (t) => {
  const cases: [string, number | undefined, number | undefined][] = [
    ['10', 10_000, 10_000],
    ['10s', 10_000, 10_000],
    ['500ms', 500, undefined],
    ['1m', 60_000, 60_000],
    ['1h30m', 5_400_000, 5_400_000],
    ['1d 2h', 93_600_000, 93_600_000],
    ['1m30', 90_000, 90_000],
    ['1w', 604_800_000, 604_800_000],
    ['1M', undefined, 2_592_000_000],
    ['1y', undefined, 31_536_000_000],
    ['30m1h', undefined, undefined],
    ['1s1s', undefined, undefined],
    ['', undefined, undefined],
    ['s', undefined, undefined],
    ['1x', undefined, undefined],
    ['-1', undefined, undefined],
  ];
  for (const [text, ms, seconds] of cases) {
    t.equal(parseTime(text), ms, text);
    t.equal(parseSeconds(text), seconds, text);
  }
});
