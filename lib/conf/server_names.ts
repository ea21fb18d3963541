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
