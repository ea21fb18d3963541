import {
  HSL,
  HTTP,
  SERVER,
  ignored,
  later,
  loc,
  srv,
  type Directive,
  type Module,
  type Setter,
} from '../directive.js';
import { flag, num, size } from '../kinds.js';
import type { Conf } from '../conf.js';

const HS = HTTP | SERVER;

const MAX_WINDOW = 2 ** 31 - 1;
const MAX_FRAME_SIZE = 2 ** 24 - 1;
const MIN_RECEIVE = 16;

/** A size with nginx's check behind it, which may change the value. */
function checked(check: (cf: Conf, value: number) => number | string): Setter {
  const read = size();
  return (cf, args, row) => {
    const problem = read(cf, args, row);
    if (problem !== undefined) return problem;
    const values = cf.values(row.level);
    const value = check(cf, values[row.field] as number);
    if (typeof value === 'string') return value;
    values[row.field] = value;
  };
}

const preread = checked((cf, value) => {
  if (value > MAX_WINDOW) throw cf.error(`the maximum body preread buffer size is ${MAX_WINDOW}`);
  return value;
});

const receive = checked((_, value) => (value <= MIN_RECEIVE ? 'value is too small' : value));

const chunk = checked((cf, value) => {
  if (value === 0) throw cf.error('the http2 chunk size cannot be zero');
  return Math.min(value, MAX_FRAME_SIZE);
});

/** Directives that nginx had: they are read over with its warning. */
function obsolete(name: string, where: number, instead?: string): Directive {
  const text =
    instead === undefined
      ? `the "${name}" directive is obsolete, ignored`
      : `the "${name}" directive is obsolete, use the "${instead}" directive instead`;
  return loc(name, where, '1', (cf) => cf.warn(text), { hidden: true });
}

export const http2Module: Module = {
  name: 'http_v2',
  rows: [
    srv('http2', HS, 'flag', flag(), { init: false }),
    srv('http2_max_concurrent_streams', HS, '1', num(), { init: 128 }),
    srv('http2_body_preread_size', HS, '1', preread, { init: 65_536 }),
    srv('http2_recv_buffer_size', HTTP, '1', receive, { init: 262_144 }),
    loc('http2_chunk_size', HSL, '1', chunk, { init: 8192 }),
    ignored('http2_pool_size', HS, '1', 'nghttp2 keeps its own memory'),
    ignored('http2_streams_index_size', HS, '1', 'nghttp2 keeps its own tables'),
    obsolete('http2_max_concurrent_pushes', HS),
    obsolete('http2_max_requests', HS, 'keepalive_requests'),
    obsolete('http2_max_field_size', HS, 'large_client_header_buffers'),
    obsolete('http2_max_header_size', HS, 'large_client_header_buffers'),
    obsolete('http2_recv_timeout', HS, 'client_header_timeout'),
    obsolete('http2_idle_timeout', HS, 'keepalive_timeout'),
    obsolete('http2_push_preload', HSL),
    obsolete('http2_push', HSL),
    ...later(
      HS,
      'http3 http3_hq http3_max_concurrent_streams http3_stream_buffer_size quic_retry quic_gso',
    ),
  ],
};
