/** How long to wait before the server is started again, and when to stop trying. */

const MINUTE_MS = 60_000;

/** The first one costs nothing to notice; a server that cannot live is given up within half a minute. */
export const DELAYS_MS = [200, 1000, 3000, 9000];

export class Backoff {
  private crashes: number[] = [];

  constructor(
    private readonly delaysMs: readonly number[] = DELAYS_MS,
    private readonly windowMs = 3 * MINUTE_MS,
    private readonly now: () => number = Date.now,
  ) {}

  /** A crash happened: milliseconds to wait, or undefined where it is time to ask the user. */
  next(): number | undefined {
    const now = this.now();
    this.crashes = this.crashes.filter((at) => now - at < this.windowMs);
    this.crashes.push(now);
    return this.delaysMs[this.crashes.length - 1];
  }

  /** Somebody has done something about it. */
  forget(): void {
    this.crashes = [];
  }

  get count(): number {
    return this.crashes.length;
  }
}
