import { closeSync, openSync } from 'node:fs';
import { lualib, native } from '../binding.js';
import { ErrorLog, errnoText, writeError } from '../cluster/log.js';
import type { Compiled } from '../conf/compile.js';
import { loadHandlers } from '../phases/handlers.js';
import type { NginxOptions } from './nginx-options.js';

/** `-t` and `-T`: what nginx would do with the configuration, up to the point where it would serve. The exit code. */
export async function testConfiguration(
  { plan, files }: Compiled,
  { quiet, dump }: Pick<NginxOptions, 'quiet' | 'dump'>,
  conf: string,
  log: ErrorLog,
  program = 'nginx',
): Promise<number> {
  const failed = (message?: string): number => {
    if (message !== undefined) log.write('emerg', message);
    writeError(`${program}: configuration file ${conf} test failed\n`);
    return 1;
  };
  if (!quiet) writeError(`${program}: the configuration file ${conf} syntax is ok\n`);
  const pid = plan.process.pid;
  try {
    closeSync(openSync(Buffer.from(pid, 'latin1'), 'a', 0o644));
  } catch (error) {
    return failed(`open() "${pid}" failed (${errnoText(error)})`);
  }
  try {
    log.use(plan);
  } catch (error) {
    return failed((error as Error).message);
  }
  if (plan.http !== undefined) {
    const gateway = new (native().Gateway)({
      lualib,
      userLualib: process.env['MOONPHASE_LUALIB'],
      embedded: false,
      test: true,
    });
    try {
      await gateway.load(plan, await loadHandlers(plan, []));
    } catch (error) {
      return failed((error as Error).message);
    } finally {
      gateway.terminate();
    }
  }
  if (!quiet) writeError(`${program}: configuration file ${conf} test is successful\n`);
  if (dump) {
    for (const [name, text] of files) {
      process.stdout.write(Buffer.from(`# configuration file ${name}:\n${text}\n`, 'latin1'));
    }
  }
  return 0;
}
