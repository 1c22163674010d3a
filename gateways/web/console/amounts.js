/* Amounts of money as cells of a table: with all their digits, so that they add up, the fine ones in the background. */

import { grouped } from "./decimals.js";
import { element } from "./elements.js";

const CLEAR_PLACES = 2;

/** A column of amounts under `name`. */
export const amountColumn = (title, name) => ({
  title,
  isNumber: true,
  isLong: true,
  update: (cell, row) => write(cell, grouped(row[name] ?? "")),
});

function write(cell, text) {
  if (cell.textContent === text) return;
  const point = text.indexOf(".");
  const end = point < 0 ? text.length : point + 1 + CLEAR_PLACES;
  cell.replaceChildren(element("span", {}, text.slice(0, end), element("span", { class: "fine" }, text.slice(end))));
}
