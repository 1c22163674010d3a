/* How much could be bought or sold up to each price: what stands in the book, summed up from the middle outwards. */

import { grouped } from "./decimals.js";
import { shape } from "./elements.js";
import { Plot, ruler } from "./plot.js";
import { brief, linear, marks } from "./scales.js";

const LEFT = 46;
const BOTTOM = 20;
const TOP = 8;

export class DepthChart {
  constructor() {
    this._sides = { bids: [], asks: [] };
    this._plot = new Plot("Depth", (plot) => this._paint(plot));
    this.node = this._plot.node;
  }

  /** Levels of a Book, and the places of a price. */
  show({ bids, asks }, places) {
    this._sides = { bids: summed(bids), asks: summed(asks) };
    this._places = places;
    this._plot.redraw();
  }

  _paint({ width, height }) {
    const { bids, asks } = this._sides;
    const all = [...bids, ...asks];
    if (!all.length)
      return [
        shape("text", { class: "mark", x: width / 2, y: height / 2, "text-anchor": "middle" }, "The book is empty."),
      ];
    const prices = all.map(([price]) => price);
    const highest = Math.max(...all.map(([, sum]) => sum)) * 1.08;
    const low = Math.min(...prices);
    const high = Math.max(...prices);
    const room = high - low || high * 0.001;
    const x = linear([low - room * 0.02, high + room * 0.02], [LEFT, width - 4]);
    const y = linear([0, highest], [height - BOTTOM, TOP]);
    return [
      marks(0, highest, 3).map((value) =>
        ruler(y(value), brief(value), { from: LEFT, to: width - 4, x: LEFT - 6, anchor: "end" }),
      ),
      area(bids, x, y, "buy"),
      area(asks, x, y, "sell"),
      this._prices(low, high, x, width, height),
    ];
  }

  _prices(low, high, x, width, height) {
    return marks(low, high, Math.max(2, Math.floor(width / 110)))
      .filter((price) => x(price) > LEFT + 24 && x(price) < width - 34)
      .map((price) =>
        shape(
          "text",
          { class: "mark", x: x(price), y: height - 5, "text-anchor": "middle" },
          grouped(price.toFixed(this._places)),
        ),
      );
  }
}

function summed(levels) {
  let sum = 0;
  return levels.map(([price, quantity]) => [Number(price), (sum += Number(quantity))]);
}

function area(levels, x, y, tone) {
  if (!levels.length) return [];
  let line = `M${x(levels[0][0])} ${y(0)}`;
  for (const [price, sum] of levels) line += `H${x(price)}V${y(sum)}`;
  const end = x(levels.at(-1)[0]);
  return [
    shape("path", { class: `depth depth-${tone}`, d: `${line}L${end} ${y(0)}Z` }),
    shape("path", { class: `depth-edge edge-${tone}`, d: line }),
  ];
}
