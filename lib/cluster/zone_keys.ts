import type { Plan } from '../conf/plan.js';

/**
 * Zones outlive a reload, so what they count by must stay: the first limit whose key has changed, in nginx's words.
 * (A zone of another size is a new one.)
 */
export function changedKey(before: Plan | undefined, after: Plan): string | undefined {
  for (const zone of after.http?.limit_zones ?? []) {
    const old = before?.http?.limit_zones.find((z) => z.name === zone.name && z.size === zone.size);
    if (old === undefined || old.key_text === zone.key_text) continue;
    const directive = zone.use === 'limit_req' ? 'limit_req' : 'limit_conn_zone';
    return (
      `${directive} "${zone.name}" uses the "${zone.key_text}" key while previously it used the ` +
      `"${old.key_text}" key`
    );
  }
  return undefined;
}
