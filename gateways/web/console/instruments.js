/* All instruments, as the channel `instrument` tells them. It is subscribed to always: with it come the heartbeats. */

export class Instruments extends EventTarget {
  constructor(feed) {
    super();
    this._rows = new Map();
    /** Whether the venue has told them. */
    this.isKnown = false;
    feed.subscribe("instrument", { params: () => ({}), hear: (message) => this._take(message) });
  }

  /** Symbols, as the venue lists them. */
  get symbols() {
    return [...this._rows.keys()];
  }

  /** Rows, as the venue lists them. */
  get rows() {
    return [...this._rows.values()];
  }

  /** The row of a symbol, or undefined. */
  get(symbol) {
    return this._rows.get(symbol);
  }

  _take({ type, data }) {
    if (type === "snapshot") this._rows = new Map();
    for (const row of data.pairs) this._rows.set(row.symbol, row);
    this.isKnown = true;
    this.dispatchEvent(new Event("change"));
  }
}
