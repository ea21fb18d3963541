import { openSync, closeSync, writeSync } from 'node:fs';
import { native } from '../binding.js';
import type { LogLevel, Plan, SyslogServer } from '../conf/plan.js';

const LEVELS: readonly LogLevel[] = [
  'emerg',
  'alert',
  'crit',
  'error',
  'warn',
  'notice',
  'info',
  'debug',
];

interface Target {
  fd: number;
  /** Instead of the descriptor. */
  readonly syslog?: SyslogServer;
  /** Undefined: standard error or syslog. */
  readonly path: string | undefined;
  /** Messages up to this index of LEVELS. */
  readonly level: number;
}

/**
 * error.log as the processes without Lua write it: at start, and in the primary. Workers log natively. While
 * `terminal` is on, warnings and worse also go to standard error, as `nginx: [emerg] …`.
 */
export class ErrorLog {
  terminal = true;
  private targets: Target[] = [];

  /** `program`: what stands before messages on standard error. */
  constructor(private readonly program = 'nginx') {}

  /** Standard error alone. */
  static toTerminal(program: string): ErrorLog {
    return new ErrorLog(program);
  }

  /** A log of one file (`-e`); an empty path is standard error. Falls back to that when the file cannot be opened. */
  static open(path: string, level: LogLevel = 'notice'): ErrorLog {
    const log = new ErrorLog();
    const index = LEVELS.indexOf(level);
    if (path === '') {
      log.targets = [{ fd: 2, path: undefined, level: index }];
      return log;
    }
    try {
      log.targets = [{ fd: append(path), path, level: index }];
    } catch (error) {
      log.targets = [{ fd: 2, path: undefined, level: index }];
      writeError(`nginx: [alert] could not open error log file: ${openFailure(path, error)}\n`);
    }
    return log;
  }

  /** From now on the `error_log` of the plan's main context. Throws nginx's sentence for a file that cannot be opened. */
  use(plan: Plan): void {
    const targets: Target[] = [];
    for (const { log, level } of plan.process.error_log) {
      const target = plan.logs[log];
      if (target === undefined) continue;
      const index = LEVELS.indexOf(level);
      if (target.kind === 'stderr') targets.push({ fd: 2, path: undefined, level: index });
      const syslog = target.syslog === undefined ? undefined : plan.syslogs[target.syslog];
      if (syslog !== undefined) targets.push({ fd: -1, syslog, path: undefined, level: index });
      if (target.kind !== 'file') continue;
      try {
        targets.push({ fd: append(target.path), path: target.path, level: index });
      } catch (error) {
        throw new Error(openFailure(target.path, error));
      }
    }
    this.close();
    this.targets = targets;
  }

  reopen(): void {
    for (const target of this.targets) {
      if (target.path === undefined) continue;
      try {
        const fd = append(target.path);
        closeSync(target.fd);
        target.fd = fd;
      } catch (error) {
        this.write('emerg', openFailure(target.path, error));
      }
    }
  }

  /** The file that standard error goes to in a daemon; undefined: it stays where it is. */
  get file(): string | undefined {
    const first = this.targets[0];
    return first?.path;
  }

  write(level: LogLevel, message: string): void {
    const index = LEVELS.indexOf(level);
    const line = `${timestamp()} [${level}] ${process.pid}#${process.pid}: ${message}\n`;
    let seen = false;
    for (const target of this.targets) {
      if (index > target.level) continue;
      if (target.fd === 2) seen = true;
      if (target.syslog !== undefined) {
        native().sendSyslog(target.syslog, index, line.slice(0, -1));
        continue;
      }
      try {
        writeSync(target.fd, Buffer.from(line, 'latin1'));
      } catch {
        // as nginx: a full disk does not stop the server
      }
    }
    if (this.terminal && !seen && index <= 4)
      writeError(`${this.program}: [${level}] ${message}\n`);
  }

  close(): void {
    for (const { fd, path } of this.targets) if (path !== undefined) closeSync(fd);
    this.targets = [];
  }
}

/** At which level nginx logs this reason why a start failed. */
export function levelOf(failure: string): LogLevel {
  if (/^init_by_lua(_file)? error: /.test(failure)) return 'error';
  return /^failed to load the 'resty\.core' module/.test(failure) ? 'alert' : 'emerg';
}

/** `signal 15 (SIGTERM) received from 123, exiting`. */
export function signalText(name: string, number: number, sender: number, doing: string): string {
  return `signal ${number} (${name}) received${sender === 0 ? '' : ` from ${sender}`}, ${doing}`;
}

export function writeError(text: string): void {
  try {
    writeSync(2, Buffer.from(text, 'latin1'));
  } catch {
    // nobody reads it
  }
}

/** The level at which nginx says why it does not start; Lua's own failures are less grave than a wrong configuration. */
export function failureLevel(message: string): LogLevel {
  if (message.startsWith('init_by_lua')) return 'error';
  return message.startsWith("failed to load the 'resty.core'") ? 'alert' : 'emerg';
}

function append(path: string): number {
  return openSync(Buffer.from(path, 'latin1'), 'a', 0o644);
}

function openFailure(path: string, error: unknown): string {
  return `open() "${path}" failed (${errnoText(error)})`;
}

const TEXTS: Readonly<Record<string, string>> = {
  ENOENT: 'No such file or directory',
  EACCES: 'Permission denied',
  EPERM: 'Operation not permitted',
  EISDIR: 'Is a directory',
  ENOTDIR: 'Not a directory',
  EROFS: 'Read-only file system',
  ENOSPC: 'No space left on device',
  ESRCH: 'No such process',
};

/** `2: No such file or directory`. */
export function errnoText(error: unknown): string {
  const { code = '', errno, message } = error as NodeJS.ErrnoException;
  return `${errno === undefined ? '?' : -errno}: ${TEXTS[code] ?? message}`;
}

function timestamp(): string {
  const d = new Date();
  const two = (n: number): string => (n < 10 ? `0${n}` : String(n));
  return (
    `${d.getFullYear()}/${two(d.getMonth() + 1)}/${two(d.getDate())} ` +
    `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`
  );
}
