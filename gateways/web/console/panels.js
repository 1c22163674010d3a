/* A panel: a titled part of a page. */

import { element } from "./elements.js";

let count = 0;

/** A section with a heading; `area` is its place in the page's grid, `extra` stands beside the heading. */
export function panel(title, area, content, extra) {
  count += 1;
  const id = `panel-${count}`;
  return element(
    "section",
    { class: `panel ${area}`, "aria-labelledby": id },
    element("header", {}, element("h2", { id }, title), extra),
    content,
  );
}

/** A label with its control. */
export function field(label, control, hint) {
  return element("label", { class: "field" }, element("span", {}, label), control, hint && element("small", {}, hint));
}

/** A line in which an outcome is said, also to those who do not see it. */
export function outcomeLine() {
  const node = element("p", { class: "outcome", role: "status" });
  return {
    node,
    say(text, tone = "") {
      node.textContent = text;
      node.dataset.tone = tone;
    },
  };
}
