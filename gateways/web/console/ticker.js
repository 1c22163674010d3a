/* What an instrument is at, in one line. */

import { compare, decimal, grouped, placesOf, short, units } from "./decimals.js";
import { element, say } from "./elements.js";

const FIGURES = [
  ["Last", ({ last }) => last],
  ["Change, 24 h", ({ change }) => change && (change.startsWith("-") ? change : `+${change}`)],
  ["Bid", ({ bid }) => bid],
  ["Ask", ({ ask }) => ask],
  ["Spread", spread],
  ["High, 24 h", ({ high }) => high],
  ["Low, 24 h", ({ low }) => low],
  ["Volume, 24 h", ({ volume }) => volume && short(volume)],
];

export class Ticker {
  constructor() {
    this._values = FIGURES.map(() => element("dd", {}, "–"));
    this.node = element(
      "dl",
      { class: "ticker" },
      FIGURES.map(([title], at) => element("div", {}, element("dt", {}, title), this._values[at])),
    );
  }

  /** The data of the channel `ticker`. */
  show(data) {
    FIGURES.forEach(([, read], at) =>
      say(
        this._values[at],
        grouped(read(data) ?? "–").replace(/^\+(\d+)/, (_, whole) => `+${grouped(whole)}`),
      ),
    );
    const [last, change] = this._values;
    if (this._last && data.last) last.dataset.tone = tick(this._last, data.last) || last.dataset.tone || "";
    this._last = data.last;
    change.dataset.tone = data.change === undefined ? "" : data.change.startsWith("-") ? "sell" : "buy";
  }
}

function tick(before, now) {
  const order = compare(now, before);
  return order ? (order > 0 ? "buy" : "sell") : "";
}

function spread({ bid, ask }) {
  if (!bid || !ask) return undefined;
  const places = placesOf(ask);
  return decimal(units(ask, places) - units(bid, places), places);
}
