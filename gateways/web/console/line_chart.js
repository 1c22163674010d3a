/* Lines over the last minutes, which move with each message, and on without one: "now" is now, and an old value is none. */

import { element, say, shape } from "./elements.js";
import { Plot, path, ruler } from "./plot.js";
import { linear, marks } from "./scales.js";

const SPAN_MS = 300_000;
const LEFT = 46;
const TOP = 8;
const BOTTOM = 20;
const BEYOND = 200;

export class LineChart {
  /** `series`: [{name, tone, value(row)}], a value that is null is a gap; `format(value)` is for legend and axis,
      which reaches at least to `least`. */
  constructor(title, series, { format, least }) {
    this._title = title;
    this._series = series;
    this._format = format;
    this._least = least;
    this._rows = [];
    this._silentMs = 0;
    this._plot = new Plot(title, (plot) => this._paint(plot));
    this._latest = series.map(({ tone }) => element("b", { class: `series-${tone}` }, "–"));
    const legend = element(
      "figcaption",
      {},
      series.map(({ name, tone }, at) => element("span", { class: `key key-${tone}` }, `${name} `, this._latest[at])),
    );
    this.node = element("figure", { class: "chart" }, legend, this._plot.node);
  }

  /** Rows with a `timestamp`, the oldest first, none of them new for so long. */
  show(rows, silentMs) {
    this._silentMs = silentMs;
    this._rows = rows.map((row) => ({ row, at: Date.parse(row.timestamp) }));
    const texts = this._series.map(({ value }) => this._text(rows.length && !silentMs ? value(rows.at(-1)) : null));
    texts.forEach((text, at) => say(this._latest[at], text));
    this._plot.describe(`${this._title}: ${this._series.map(({ name }, at) => `${name} ${texts[at]}`).join(", ")}`);
    this._plot.redraw();
  }

  _text(value) {
    return value === null ? "–" : this._format(value);
  }

  _paint({ width, height }) {
    const latest = (this._rows.at(-1)?.at ?? 0) + this._silentMs;
    const values = this._rows.flatMap(({ row }) => this._series.map(({ value }) => value(row) ?? 0));
    const highest = Math.max(usual(values), this._least) * 1.08;
    const x = linear([latest - SPAN_MS, latest], [LEFT, width - 4]);
    const y = linear([0, highest], [height - BOTTOM, TOP]);
    const rulers = marks(0, highest, 4).map((value) =>
      ruler(y(value), this._format(value), { from: LEFT, to: width - 4, x: LEFT - 6, anchor: "end" }),
    );
    const minutes = [0, 1, 2, 3, 4, 5]
      .map((ago) =>
        shape(
          "text",
          { class: "mark", x: x(latest - ago * 60_000), y: height - 5, "text-anchor": ago ? "middle" : "end" },
          ago ? `−${ago} min` : "now",
        ),
      )
      .slice(0, width > 420 ? 6 : 3);
    return [rulers, minutes, this._series.map((one) => this._line(one, x, y, latest))];
  }

  _line({ tone, value }, x, y, latest) {
    const shown = this._rows.filter(({ at }) => at >= latest - SPAN_MS);
    const points = shown.map(({ row, at }) => {
      const height = value(row);
      return height === null ? null : [x(at), y(height)];
    });
    return shape("path", { class: `line line-${tone}`, d: path(points) });
  }
}

/** The highest value that is not beyond all others: one that is leaves the chart at its top, and all else readable. */
function usual(values) {
  const seen = values.filter((value) => value > 0).sort((one, other) => one - other);
  const middle = seen[Math.floor(seen.length / 2)] ?? 0;
  return seen.findLast((value) => value <= BEYOND * middle) ?? 0;
}
