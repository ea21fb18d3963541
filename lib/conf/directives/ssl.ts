import { HTTP, SERVER, ignored, later, srv, type Module, type Setter } from '../directive.js';
import {
  confName,
  confPath,
  flag,
  mask,
  num,
  oneOf,
  pairs,
  sec,
  size,
  str,
  strings,
} from '../kinds.js';
import { parseSize } from '../numbers.js';
import { PROTOCOLS } from './pass.js';

const HS = HTTP | SERVER;

const MIN_CACHE = 8 * 4096;

const sessionCache: Setter = (cf, args, row) => {
  for (const word of args) {
    const [, name, bytes] = /^shared:([^:]*):(.*)$/.exec(word) ?? [];
    if (name !== undefined) {
      const value = parseSize(bytes ?? '');
      if (name === '' || value === undefined) throw cf.error(`invalid session cache "${word}"`);
      if (value < MIN_CACHE) throw cf.error(`session cache "${word}" is too small`);
      cf.sharedMemory(name, 'ssl_session_cache', value);
      cf.sessionZones.set(name, { name, size: value });
    } else if (!/^(off|none|builtin(:[1-9]\d*)?)$/.test(word)) {
      throw cf.error(`invalid session cache "${word}"`);
    }
  }
  cf.list<string>(row).push(...args);
};

/** A file under the configuration's directory, `data:…` or `engine:…`; it may hold variables. */
const certificate: Setter = (cf, [text = ''], row) => {
  const isPath = !text.startsWith('data:') && !text.startsWith('engine:') && !text.startsWith('$');
  cf.list(row).push(cf.complex(isPath ? cf.confName(text) : text));
};

export const sslModule: Module = {
  name: 'http_ssl',
  group: 'ssl',
  rows: [
    srv('ssl_certificate', HS, '1', certificate, { init: [] }),
    srv('ssl_certificate_key', HS, '1', certificate, { init: [] }),
    srv('ssl_password_file', HS, '1', confPath()),
    srv('ssl_dhparam', HS, '1', confPath()),
    srv('ssl_ecdh_curve', HS, '1', str(), { init: 'auto' }),
    srv('ssl_protocols', HS, '1+', mask(...PROTOCOLS), { init: ['TLSv1.2', 'TLSv1.3'] }),
    srv('ssl_ciphers', HS, '1', str(), { init: 'HIGH:!aNULL:!MD5' }),
    srv('ssl_buffer_size', HS, '1', size(), { init: 16_384 }),
    srv('ssl_verify_client', HS, '1', oneOf('off', 'on', 'optional', 'optional_no_ca'), {
      init: 'off',
    }),
    srv('ssl_verify_depth', HS, '1', num(), { init: 1 }),
    srv('ssl_client_certificate', HS, '1', confPath(), { init: '' }),
    srv('ssl_trusted_certificate', HS, '1', confPath(), { init: '' }),
    srv('ssl_prefer_server_ciphers', HS, 'flag', flag(), { init: false }),
    srv('ssl_session_cache', HS, '12', sessionCache, { init: ['none'] }),
    srv('ssl_session_tickets', HS, 'flag', flag(), { init: true }),
    srv('ssl_session_ticket_key', HS, '1', strings(confName), { init: [] }),
    srv('ssl_session_timeout', HS, '1', sec(), { init: 300_000 }),
    srv('ssl_crl', HS, '1', confPath(), { init: '' }),
    srv('ssl_early_data', HS, 'flag', flag(), { init: false }),
    srv('ssl_conf_command', HS, '2', pairs(), { init: [] }),
    srv('ssl_reject_handshake', HS, 'flag', flag(), { init: false }),
    ignored(
      'ssl_certificate_cache',
      HS,
      '123',
      'certificates are kept as long as the configuration',
    ),
    ignored('ssl_certificate_compression', HS, 'flag', 'certificates are sent as they are'),
    srv('ssl_stapling', HS, 'flag', flag(), { init: false }),
    srv('ssl_stapling_file', HS, '1', confPath(), { init: '' }),
    srv('ssl_stapling_responder', HS, '1', str(), { init: '' }),
    srv('ssl_stapling_verify', HS, 'flag', flag(), { init: false }),
    ...later(HS, 'ssl_ech_file ssl_ocsp ssl_ocsp_responder ssl_ocsp_cache'),
  ],
};
