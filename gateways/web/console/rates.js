/* How fast counts grow, from two looks at each. */

import { grouped } from "./decimals.js";

export class Rates {
  constructor() {
    this._looks = new Map();
  }

  /** A count that was `value` at a time in ms. */
  take(name, value, atMs) {
    const before = this._looks.get(name);
    if (before && atMs <= before.atMs) return;
    const perSecond = before ? Math.max(0, ((value - before.value) * 1000) / (atMs - before.atMs)) : null;
    this._looks.set(name, { value, atMs, perSecond });
  }

  /** The latest rate; "" where there was one look only. */
  text(name) {
    const perSecond = this._looks.get(name)?.perSecond ?? null;
    return perSecond === null ? "" : grouped(Math.round(perSecond));
  }
}
