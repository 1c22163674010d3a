/* What the venue tells of one instrument: its book, trades, ticker and candles.

   A book whose checksum is wrong is asked for again, and `complaint` says so. */

import { Book } from "./book.js";

export const DEPTH = 25;
const CANDLES_KEPT = 400;

export class MarketFeed {
  /** `hear()` is called after every message; `tape` takes the trades. */
  constructor(feed, symbol, interval, tape, hear) {
    this._feed = feed;
    this._hear = hear;
    this._tape = tape;
    this._symbol = symbol;
    this.book = new Book();
    this.ticker = {};
    this.candles = [];
    this.complaint = "";
    this._book = this._subscribe("book", { depth: DEPTH }, (message) => this._takeBook(message));
    this._subscriptions = [
      this._book,
      this._subscribe("trade", {}, (message) => tape.take(message)),
      this._subscribe("ticker", {}, ({ data }) => (this.ticker = data[0] ?? {})),
    ];
    this.show(interval);
  }

  /** Candles of another interval, in minutes. */
  show(interval) {
    this.interval = interval;
    this.candles = [];
    this._candles = this._subscribe("candles", { interval }, (message) => this._takeCandles(message));
  }

  /** Hear no more. */
  end() {
    for (const subscription of [...this._subscriptions, this._candles]) subscription.end();
    this._tape.take({ type: "snapshot", data: [] });
  }

  _subscribe(channel, more, take) {
    return this._feed.subscribe(channel, {
      params: () => ({ symbol: [this._symbol], ...more }),
      hear: (message) => {
        take(message);
        this._hear();
      },
    });
  }

  _takeBook({ type, data: [data] }) {
    if (this.book.take(type, data)) return;
    const now = new Date().toLocaleTimeString("en-GB");
    this.complaint = `The checksum of the book was wrong at ${now}: it was asked for again.`;
    this._book.again();
  }

  _takeCandles({ type, data }) {
    const candles = new Map((type === "snapshot" ? [] : this.candles).map((one) => [one.interval_begin, one]));
    for (const one of data) candles.set(one.interval_begin, one);
    this.candles = [...candles.values()].slice(-CANDLES_KEPT);
  }
}
