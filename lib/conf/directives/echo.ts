import type { Conf } from '../conf.js';
import {
  LOCATION,
  LOCATION_IF,
  loc,
  type Directive,
  type Module,
  type Setter,
} from '../directive.js';
import { num } from '../kinds.js';
import type { EchoCommand } from '../plan.js';

const LI = LOCATION | LOCATION_IF;

/** A command of echo-nginx-module: its arguments are compiled, and looked at when it runs. */
function command(field: string, content: boolean): Setter {
  return (cf: Conf, args: string[], row: Directive) => {
    const { loc: values } = cf.scope;
    // only the first command makes echo the content handler: a later content_by_lua keeps its place
    if (content && !(field in values)) cf.content('echo');
    const list = (values[field] ??= []) as EchoCommand[];
    list.push({ op: row.name, args: args.map((arg) => cf.complex(arg)) });
  };
}

const run = (name: string, args: string): Directive =>
  loc(name, LI, args, command('echo_cmds', true), { field: 'echo_cmds' });

export const echoModule: Module = {
  name: 'http_echo',
  rows: [
    run('echo', 'any'),
    run('echo_request_body', '0'),
    run('echo_sleep', '1'),
    run('echo_flush', '0'),
    run('echo_blocking_sleep', '1'),
    run('echo_reset_timer', '0'),
    run('echo_location_async', '12'),
    run('echo_location', '12'),
    run('echo_subrequest_async', '2+'),
    run('echo_subrequest', '2+'),
    run('echo_duplicate', '2+'),
    run('echo_read_request_body', '0'),
    run('echo_foreach_split', '2+'),
    run('echo_end', '0'),
    run('echo_abort_parent', '0'),
    run('echo_exec', '12'),
    loc('echo_before_body', LI, 'any', command('echo_before_body', false)),
    loc('echo_after_body', LI, 'any', command('echo_after_body', false)),
    loc('echo_status', LI, '1', num(), { init: 200 }),
  ],
};
