import { unlinkSync } from 'node:fs';
import { isFailure, native } from '../binding.js';
import type { CallFailure } from '../binding.js';
import type { ListenPlan } from '../conf/plan.js';

/** nginx tries an address in use so often, so long apart. */
const TRIES = 5;
const PAUSE = 500;

/** Called for each address that cannot be had; the text is nginx's. */
export type OnFailure = (message: string) => void;

/** The listening sockets of a process by address; a reload keeps those that go on. */
export class Sockets {
  private readonly open = new Map<string, number>();

  /** Sockets that the process was started with. */
  adopt(descriptors: readonly number[]): void {
    for (const fd of descriptors) {
      const name = native().socketName(fd);
      if (name !== undefined) this.open.set(name, fd);
    }
  }

  /** A socket under a name that is not its address: one of several for `reuseport`. */
  get(name: string): number | undefined {
    return this.open.get(name);
  }

  get descriptors(): number[] {
    return [...this.open.values()];
  }

  /**
   * Descriptors for these addresses, in order. `copies`: of a `reuseport` address one per worker. Undefined: some could
   * not be opened, and none of the new ones is left.
   */
  async acquire(
    listens: readonly ListenPlan[],
    onFailure: OnFailure,
    copies = 1,
  ): Promise<Acquired | undefined> {
    const added: string[] = [];
    let busy: Wanted[] = wanted(listens, copies);
    const used = new Set(busy.map(({ key }) => key));
    for (let attempt = 1; ; attempt++) {
      const next: Wanted[] = [];
      for (const want of busy) {
        if (this.open.has(want.key)) continue;
        const result = native().openSocket(want.listen);
        if (!isFailure(result)) {
          this.open.set(want.key, result);
          added.push(want.key);
          continue;
        }
        onFailure(failureText(want.listen, result));
        if (result.errno !== EADDRINUSE) {
          this.drop(added);
          return undefined;
        }
        next.push(want);
      }
      if (next.length === 0) break;
      if (attempt === TRIES) {
        onFailure('still could not bind()');
        this.drop(added);
        return undefined;
      }
      busy = next;
      await new Promise((resolve) => setTimeout(resolve, PAUSE));
    }
    const stale = [...this.open.keys()].filter((key) => !used.has(key));
    return {
      descriptors: Array.from({ length: copies }, (_, copy) =>
        listens.map((l) => this.open.get(keyOf(l, l.reuseport ? copy : 0)) as number),
      ),
      undo: () => this.drop(added),
      commit: (close) => {
        if (close) this.drop(stale);
        else this.forget(stale);
      },
    };
  }

  /** Closes everything; files of unix sockets go too. */
  close(): void {
    this.drop([...this.open.keys()]);
  }

  /** Somebody else closes the descriptors (the native listeners own them); files of unix sockets go. */
  forget(keys: readonly string[] = [...this.open.keys()]): void {
    for (const key of keys) {
      this.open.delete(key);
      unlink(key);
    }
  }

  private drop(keys: readonly string[]): void {
    for (const key of keys) {
      const fd = this.open.get(key);
      if (fd !== undefined) native().closeSocket(fd);
    }
    this.forget(keys);
  }
}

export interface Acquired {
  /** For each copy (worker), a descriptor for each address. */
  readonly descriptors: readonly (readonly number[])[];
  /** Closes what was opened for this. */
  undo(): void;
  /** Forgets addresses that are not wanted any more; `close` also closes them. */
  commit(close: boolean): void;
}

interface Wanted {
  readonly key: string;
  readonly listen: ListenPlan;
}

const EADDRINUSE = 98;

function keyOf(listen: ListenPlan, copy: number): string {
  return copy === 0 ? listen.name : `${listen.name}#${copy}`;
}

function wanted(listens: readonly ListenPlan[], copies: number): Wanted[] {
  return listens.flatMap((listen) =>
    Array.from({ length: listen.reuseport ? copies : 1 }, (_, copy) => ({
      key: keyOf(listen, copy),
      listen,
    })),
  );
}

function failureText(listen: ListenPlan, { call, errno, text }: CallFailure): string {
  const reason = `(${errno}: ${text})`;
  if (call === 'listen()')
    return `listen() to ${listen.name}, backlog ${listen.backlog} failed ${reason}`;
  return `${call === 'bind()' ? 'bind() to' : call} ${listen.name} failed ${reason}`;
}

function unlink(name: string): void {
  if (!name.startsWith('unix:') || name.includes('#')) return;
  try {
    unlinkSync(Buffer.from(name.slice('unix:'.length), 'latin1'));
  } catch {
    // it is gone already
  }
}
