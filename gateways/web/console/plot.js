/* A drawing area in pixels of the screen, which is drawn anew when its size changes. */

import { element, shape } from "./elements.js";
import { perFrame } from "./frames.js";

export class Plot {
  /** `paint(plot)` returns the shapes; `label` says to those who do not see it what it shows. */
  constructor(label, paint) {
    this.svg = shape("svg", { role: "img", "aria-label": label });
    this.node = element("div", { class: "plot" }, this.svg);
    this.redraw = perFrame(() => this._draw(paint));
    this._sizes = new ResizeObserver(this.redraw);
    this._sizes.observe(this.node);
  }

  /** What it shows, in words. */
  describe(label) {
    this.svg.setAttribute("aria-label", label);
  }

  _draw(paint) {
    this.width = this.node.clientWidth;
    this.height = this.node.clientHeight;
    if (!this.width || !this.height) return;
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    this.svg.replaceChildren(...paint(this).flat(2));
  }
}

/** A horizontal line with its value beside it. */
export function ruler(y, text, { from, to, x, anchor }) {
  return [
    shape("line", { class: "grid", x1: from, x2: to, y1: y, y2: y }),
    shape("text", { class: "mark", x, y: y + 3.5, "text-anchor": anchor }, text),
  ];
}

/** A path through points, with a gap where one is null. Runs begin with a stroke of no length: a lone one is a dot. */
export function path(points) {
  let isPenDown = false;
  return points
    .map((point) => {
      const [before, after] = isPenDown ? ["L", ""] : ["M", "h0"];
      isPenDown = point !== null;
      return point === null ? "" : `${before}${point[0].toFixed(1)} ${point[1].toFixed(1)}${after}`;
    })
    .join("");
}
