/* The book of one instrument as the channel `book` tells it: levels that come, change and go, and a proof.

   Rules
   - Prices and quantities are the texts that were sent: the checksum is over their digits.
   - Every message is checked. A book that is wrong says so, and is worth nothing until the next snapshot. */

import { crc32 } from "./crc32.js";
import { compare } from "./decimals.js";

const TOP = 10;
const isZero = (text) => !/[1-9]/.test(text);
const digits = (text) => text.replace(".", "").replace(/^0+/, "");

export class Book {
  constructor() {
    /** Best first, each [price, quantity]. */
    this.bids = [];
    this.asks = [];
    this.timestamp = "";
  }

  /** Take the `data` of a message; whether the book is right after it. */
  take(kind, data) {
    this.bids = merged(kind === "snapshot" ? [] : this.bids, data.bids, -1);
    this.asks = merged(kind === "snapshot" ? [] : this.asks, data.asks, 1);
    this.timestamp = data.timestamp;
    return this.checksum() === Number(data.checksum);
  }

  /** Of the best levels: asks, then bids. */
  checksum() {
    const best = [...this.asks.slice(0, TOP), ...this.bids.slice(0, TOP)];
    return crc32(best.map(([price, quantity]) => digits(price) + digits(quantity)).join(""));
  }
}

function merged(before, changes, sign) {
  const levels = new Map(before);
  for (const { price, qty } of changes) {
    if (isZero(qty)) levels.delete(price);
    else levels.set(price, qty);
  }
  return [...levels].sort((one, other) => sign * compare(one[0], other[0]));
}
