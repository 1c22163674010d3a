/* Tables that follow their rows: what has not changed is not touched.

   A column is {title, text(row)}, or {title, node(row)}: a node is made once for each row; or it fills its cell in
   `update(cell, row)`. `isNumber` puts it to the right; `isLong` and `isWide` give it a line of its own where there is
   little room; `tone(row)` names a colour, and `hint(row)` is told on hovering. Where there is little room a row
   becomes a list of its cells: `stacks` says when, "stacks" or "stacks-early"; without it the table is scrolled. */

import { element, say } from "./elements.js";

export class Table {
  constructor(caption, columns, { key, empty = "None.", stacks }) {
    this._columns = columns;
    this._key = key;
    this._rows = new Map();
    this._body = element("tbody", { role: "rowgroup" });
    this._empty = element("p", { class: "empty" }, empty);
    const heads = columns.map((column) =>
      element("th", { ...sides(column), scope: "col", role: "columnheader" }, column.title),
    );
    this._table = element(
      "table",
      { role: "table", class: stacks },
      element("caption", { class: "unseen" }, caption),
      element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, heads)),
      this._body,
    );
    this.node = element("div", { class: "scroll" }, this._table, this._empty);
    this.show([]);
  }

  /** Show these rows, in this order. */
  show(rows) {
    const before = this._rows;
    this._rows = new Map();
    rows.forEach((row, at) => {
      const key = String(this._key(row));
      const shown = before.get(key) ?? this._make(row);
      before.delete(key);
      this._rows.set(key, shown);
      this._fill(shown, row);
      if (this._body.children[at] !== shown.line) this._body.insertBefore(shown.line, this._body.children[at] ?? null);
    });
    for (const { line } of before.values()) line.remove();
    this._empty.hidden = rows.length > 0;
    this._table.hidden = rows.length === 0;
  }

  _make(row) {
    const shown = { row };
    const cells = this._columns.map((column) => {
      const made = element("td", { ...sides(column), role: "cell", "data-title": column.title });
      if (column.node) made.append(column.node(row, () => shown.row) ?? "");
      return made;
    });
    return Object.assign(shown, { cells, line: element("tr", { role: "row" }, cells) });
  }

  _fill(shown, row) {
    shown.row = row;
    this._columns.forEach((column, at) => {
      const cell = shown.cells[at];
      if (column.text) say(cell, column.text(row));
      if (column.tone) cell.dataset.tone = column.tone(row);
      if (column.hint) cell.title = column.hint(row);
      if (column.update) column.update(cell, row);
    });
  }
}

const CLASSES = { isNumber: "number", isLong: "long", isWide: "wide" };

function sides(column) {
  const names = Object.keys(CLASSES)
    .filter((name) => column[name])
    .map((name) => CLASSES[name]);
  return { class: names.join(" ") || undefined };
}
