/** A worker that lives at least so long was no failed start. */
const HEALTHY = 1000;
const FIRST = 50;
const LONGEST = 800;

/** When to start a worker again: at once, but more slowly while workers die young. Never later than in 0.8 s. */
export class Backoff {
  private delay = 0;

  /** `lived`: how long the worker that has died was there, in ms. */
  next(lived: number): number {
    if (lived >= HEALTHY) this.delay = 0;
    const delay = this.delay;
    this.delay = delay === 0 ? FIRST : Math.min(delay * 2, LONGEST);
    return delay;
  }
}
