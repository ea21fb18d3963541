import type { Conf } from './conf.js';
import type { ListenPlan, ServerPlan } from './plan.js';
import { ConfigError } from '../errors.js';

/** Names that several servers of one address have: the first server keeps them, with a warning. */
export function checkServerNames(
  cf: Conf,
  servers: readonly ServerPlan[],
  listens: readonly ListenPlan[],
): void {
  for (const { name: address, servers: indexes } of listens) {
    if (indexes.length < 2) continue;
    const seen = new Set<string>();
    for (const index of indexes) {
      for (const { name, kind } of (servers[index] as ServerPlan).names) {
        if (kind === 'regex') continue;
        if (!isValid(name)) {
          throw new ConfigError(`invalid server name or wildcard "${name}" on ${address}`);
        }
        if (seen.has(name)) {
          cf.notices.push({
            level: 'warn',
            message: `conflicting server name "${name}" on ${address}, ignored`,
          });
        }
        seen.add(name);
      }
    }
  }
}

/** At most one `*`, as a whole first or last label; no empty labels. */
function isValid(name: string): boolean {
  if (name.includes('\0')) return false;
  const bare = name.replace(/^\*?\./, '').replace(/\.\*$/, '');
  const stars = name.split('*').length - 1;
  return stars <= 1 && !bare.includes('*') && !bare.includes('..');
}

/** Each listening socket takes one of the worker's connections. */
export function checkConnections(cf: Conf, listens: readonly ListenPlan[]): void {
  const most = cf.process['worker_connections'] as number | undefined;
  if (most === undefined || most >= listens.length + 1) return;
  throw new ConfigError(
    `${most} worker_connections are not enough for ${listens.length} listening sockets`,
  );
}

/** Addresses with TLS need servers with certificates; nginx says it with the server's place. */
export function checkCertificates(
  servers: readonly ServerPlan[],
  listens: readonly ListenPlan[],
): void {
  for (const server of servers) checkServer(server);
  for (const listen of listens) {
    if (!listen.ssl) continue;
    const first = servers[listen.defaultServer] as ServerPlan;
    // a default server with certificates answers for all others
    const others = hasCertificates(first)
      ? []
      : listen.servers.map((index) => servers[index] as ServerPlan);
    for (const server of [first, ...others]) {
      if (hasCertificates(server) || server.ssl?.['ssl_reject_handshake'] === true) continue;
      throw new ConfigError(
        'no "ssl_certificate" is defined for the "listen ... ssl" directive',
        server.where,
      );
    }
  }
}

function checkServer({ ssl, where, ...server }: ServerPlan): void {
  const certificates = ssl?.ssl_certificate ?? [];
  if (certificates.length > (ssl?.ssl_certificate_key.length ?? 0)) {
    const last = certificates.at(-1);
    const name = typeof last === 'string' ? last : '';
    throw new ConfigError(`no "ssl_certificate_key" is defined for certificate "${name}"`, where);
  }
  const lua =
    server.ssl_certificate_by_lua !== undefined || server.ssl_client_hello_by_lua !== undefined;
  if (
    lua &&
    ssl !== undefined &&
    certificates.length === 0 &&
    ssl['ssl_reject_handshake'] !== true
  ) {
    throw new ConfigError('no ssl configured for the server', where);
  }
}

function hasCertificates({ ssl }: ServerPlan): boolean {
  return ssl !== undefined && ssl.ssl_certificate.length > 0;
}
