/** How long to wait before the server is started again, and when to stop trying. */

/** Crashes longer ago than this are forgiven. */
const WINDOW_MS = 3 * 60_000;

/** The first one costs nothing to notice; a server that cannot live is given up within half a minute. */
const DELAYS_MS = [200, 1000, 3000, 9000];

export class Backoff {
  private crashes: number[] = [];

  /** A crash happened: milliseconds to wait, or undefined where it is time to ask the user. */
  next(): number | undefined {
    const now = Date.now();
    this.crashes = this.crashes.filter((at) => now - at < WINDOW_MS);
    this.crashes.push(now);
    return DELAYS_MS[this.crashes.length - 1];
  }

  /** Somebody has done something about it. */
  forget(): void {
    this.crashes = [];
  }

  get count(): number {
    return this.crashes.length;
  }
}
