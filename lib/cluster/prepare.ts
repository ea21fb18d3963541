import { isFailure, native } from '../binding.js';
import type { ProcessPlan } from '../conf/plan.js';

/** Limits, environment and directory of a process that serves; the complaints are logged as alerts. */
export function prepareProcess(
  plan: ProcessPlan,
  workerId: number,
  alert: (text: string) => void,
): void {
  const addon = native();
  const report = (result: unknown): void => {
    if (isFailure(result)) alert(`${result.call} failed (${result.errno}: ${result.text})`);
  };
  report(
    addon.setLimits({
      ...(plan.worker_rlimit_nofile === undefined ? {} : { nofile: plan.worker_rlimit_nofile }),
      ...(plan.worker_rlimit_core === undefined ? {} : { core: plan.worker_rlimit_core }),
      ...(plan.worker_priority === undefined ? {} : { priority: plan.worker_priority }),
    }),
  );
  const masks = plan.worker_cpu_affinity ?? [];
  const mask = masks[Math.min(workerId, masks.length - 1)];
  if (mask !== undefined && /^[01]+$/.test(mask)) report(addon.setAffinity(mask));
  if (plan.working_directory !== undefined) {
    try {
      process.chdir(plan.working_directory);
    } catch (error) {
      alert(`chdir("${plan.working_directory}") failed (${(error as Error).message})`);
    }
  }
  addon.setEnvironment(environment(plan));
}

/**
 * nginx keeps of the environment TZ and what `env` names. Its Lua module reads LUA_PATH and LUA_CPATH before that; our
 * VMs are made after it.
 */
function environment(plan: ProcessPlan): (readonly [string, string?])[] {
  const list: (readonly [string, string?])[] = plan.env.map(({ name, value }) =>
    value === undefined ? [name] : [name, value],
  );
  for (const kept of ['TZ', 'LUA_PATH', 'LUA_CPATH'])
    if (!plan.env.some(({ name }) => name === kept)) list.push([kept]);
  return list;
}
