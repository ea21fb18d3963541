import { createHash } from 'node:crypto';
import { readFileSync, statSync, watch, type FSWatcher } from 'node:fs';
import { dirname, relative } from 'node:path';

/** Editors write in several steps; what changes within this time is one change. */
const QUIET = 100;
/** Lua may load a module at any time: so often its files are asked for. */
const REFRESH = 1000;

export interface WatchOptions {
  /** The files that count now, as absolute paths. */
  readonly files: () => readonly string[];
  /** Called with what has changed; the next change waits for it. */
  readonly onChange: (changed: readonly string[]) => Promise<void>;
}

/** Notices when one of some files changes: its contents, not only its time. */
export class Watcher {
  private readonly sums = new Map<string, string>();
  private readonly directories = new Map<string, FSWatcher>();
  private readonly refreshing: NodeJS.Timeout;
  private timer: NodeJS.Timeout | undefined;
  private busy = false;
  private refreshed = Date.now();

  constructor(private readonly options: WatchOptions) {
    this.refresh();
    this.refreshing = setInterval(() => this.refresh(), REFRESH);
  }

  close(): void {
    clearInterval(this.refreshing);
    clearTimeout(this.timer);
    for (const directory of this.directories.values()) directory.close();
  }

  /**
   * Files that are new to us have not changed, but for those that were written after we asked last: Lua may have loaded
   * them before. What was known stays so: after a reload no module is loaded until a request needs it.
   */
  private refresh(): void {
    if (this.busy) return;
    const since = this.refreshed;
    this.refreshed = Date.now();
    for (const file of this.options.files()) {
      if (!this.sums.has(file)) {
        const written = writtenAfter(file, since);
        this.sums.set(file, written ? '' : sumOf(file));
        if (written) this.soon();
      }
      this.watchDirectory(dirname(file));
    }
  }

  /** A directory: most editors put a new file in the old one's place. */
  private watchDirectory(directory: string): void {
    if (this.directories.has(directory)) return;
    try {
      const watcher = watch(directory, () => this.soon());
      watcher.on('error', () => {
        watcher.close();
        this.directories.delete(directory);
      });
      this.directories.set(directory, watcher);
    } catch {
      // it is not there: refresh() tries again
    }
  }

  private soon(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.look(), QUIET);
  }

  private async look(): Promise<void> {
    if (this.busy) return this.soon();
    const changed: string[] = [];
    for (const [file, sum] of this.sums) {
      const now = sumOf(file);
      if (now === sum) continue;
      this.sums.set(file, now);
      changed.push(file);
    }
    if (changed.length === 0) return;
    this.busy = true;
    try {
      await this.options.onChange(changed);
    } finally {
      this.busy = false;
      this.refresh();
    }
  }
}

function writtenAfter(file: string, time: number): boolean {
  return (statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0) > time;
}

function sumOf(file: string): string {
  try {
    return createHash('sha1').update(readFileSync(file)).digest('base64');
  } catch {
    return '';
  }
}

/** Paths for people: relative to where they are. */
export function shown(files: readonly string[], prefix: string): string {
  return files.map((file) => relative(prefix, file)).join(', ');
}
