/* The best levels of both sides, with the sum up to each as a bar; the reader's own orders are marked.

   The lines are made once, for the whole depth: a book that grows or shrinks moves nothing on the page. */

import { decimal, grouped, units } from "./decimals.js";
import { element, say } from "./elements.js";

const SIDES = { bids: { title: "Bids", side: "buy" }, asks: { title: "Asks", side: "sell" } };

export class Ladder {
  /** `choose(price)`: somebody pointed at a level. */
  constructor(depth, choose) {
    this._lines = {};
    const halves = Object.keys(SIDES).map((name) => this._half(name, depth, choose));
    this.node = element("div", { class: "ladder" }, halves);
  }

  /** A Book, the reader's own orders {buy, sell} as price -> quantity, and the places of a quantity. */
  show(book, own, places) {
    const sums = { bids: cumulated(book.bids, places), asks: cumulated(book.asks, places) };
    const most = Math.max(1, ...Object.values(sums).map((side) => Number(side.at(-1) ?? 0n)));
    for (const [name, { side }] of Object.entries(SIDES)) {
      this._lines[name].forEach((line, at) => {
        const level = book[name][at];
        fill(line, level, level && decimal(sums[name][at], places), level && own[side].get(level[0]));
        line.node.style.setProperty("--share", level ? `${(100 * Number(sums[name][at])) / most}%` : "0%");
      });
    }
  }

  _half(name, depth, choose) {
    const { title, side } = SIDES[name];
    this._lines[name] = Array.from({ length: depth }, () => makeLine(side, choose));
    const heads = ordered(side, "Total", "Quantity", "Price").map((text) =>
      element("th", { scope: "col", class: `number ${text === "Total" ? "total" : ""}` }, text),
    );
    return element(
      "table",
      { class: `half half-${side}` },
      element("caption", { class: "unseen" }, title),
      element("thead", {}, element("tr", {}, heads)),
      element(
        "tbody",
        {},
        this._lines[name].map(({ node }) => node),
      ),
    );
  }
}

/** Prices meet in the middle. */
const ordered = (side, total, quantity, price) =>
  side === "buy" ? [total, quantity, price] : [price, quantity, total];

function makeLine(side, choose) {
  const [total, quantity, price] = ["total", "quantity", "price"].map((name) =>
    element("td", { class: `number ${name}` }, "\u00a0"),
  );
  const node = element(
    "tr",
    { class: side, onclick: () => price.dataset.price && choose(price.dataset.price) },
    ordered(side, total, quantity, price),
  );
  return { node, total, quantity, price };
}

function fill(line, level, sum, own) {
  say(line.price, level ? grouped(level[0]) : "\u00a0");
  say(line.quantity, level ? level[1] : "\u00a0");
  say(line.total, level ? sum : "\u00a0");
  line.price.dataset.price = level ? level[0] : "";
  line.node.classList.toggle("own", own !== undefined);
  line.node.title = own === undefined ? "" : `Yours: ${own}`;
}

function cumulated(levels, places) {
  let sum = 0n;
  return levels.map(([, quantity]) => (sum += units(quantity, places)));
}
