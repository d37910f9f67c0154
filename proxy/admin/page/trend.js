// What happened in the last half minute, as far as it can be known: errors are counted since the start, so what is
// new is the difference to what the page saw half a minute ago. A page that has just been opened knows of each
// class only whether it happened, which is once at least.

export const SPAN = 30;

export class Trend {
  #seen = []; // [time, {class: count}], the oldest first

  add(status) {
    const counts = Object.fromEntries(status.recent.errors.map((error) => [error.error_class, error.count]));
    if (this.#isAnother(counts)) this.#seen = [];
    this.#seen.push([status.now, counts]);
    while (this.#seen.length > 1 && this.#seen[1][0] <= status.now - SPAN) this.#seen.shift();
    return this;
  }

  // How many of each class there were, by class (`of`), in the seconds that were seen of that half minute (`seen`).
  lately(status) {
    const [since, before] = this.#seen[0];
    const of = {};
    for (const { error_class: name, count, last } of status.recent.errors) {
      const fresh = status.now - last.at <= SPAN;
      of[name] = fresh ? Math.max(1, count - (before[name] ?? 0)) : 0;
    }
    return { of, seen: Math.min(SPAN, status.now - since) };
  }

  // A process that was started again counts from nothing.
  #isAnother(counts) {
    const [, last] = this.#seen.at(-1) ?? [0, {}];
    return Object.keys(last).some((name) => (counts[name] ?? 0) < last[name]);
  }
}
