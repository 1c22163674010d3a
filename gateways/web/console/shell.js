/* What stands around every page: where one can go, who is signed in, and whether what is shown is of now.

   Rules
   - While what is shown is old a banner says how old it is.
   - A page is made when it is gone to, and closed when it is left. */

import { element, say } from "./elements.js";
import { CLIENT, OPERATOR } from "./keyring.js";
import { address, read } from "./routes.js";

const LOOK_MS = 250;

export class Shell {
  /** `pages`: name -> module with `title`, `open(console, rest)` and, where a key is needed, `needs`. */
  constructor(body, console, pages) {
    this._console = console;
    this._pages = pages;
    this._main = body.querySelector("main");
    this._nav = body.querySelector("nav");
    this._link = body.querySelector("#link");
    this._who = body.querySelector("#who");
    this._banner = body.querySelector("#banner");
    this._fill(body);
    addEventListener("hashchange", () => this._go());
    console.keyring.addEventListener("change", () => this._signed());
    console.feed.addEventListener("change", () => this._look());
    setInterval(() => this._look(), LOOK_MS);
    this._go({ isFirst: true });
  }

  _fill(body) {
    this._age = element("span", { "aria-hidden": "true" });
    this._old = element("span", {});
    this._banner.append(this._old, this._age);
    body.querySelector(".skip").addEventListener("click", () => this._main.focus());
    const shown = Object.entries(this._pages).filter(([name]) => name !== "keys");
    this._links = shown.map(([name, { title }]) => element("a", { href: address(name), "data-page": name }, title));
    this._nav.append(...this._links);
    this._names();
  }

  // --- pages ---

  _go({ isFirst = false } = {}) {
    const { keyring } = this._console;
    const [name, ...rest] = read(location.hash);
    const chosen = this._pages[name] ? name : keyring.has(OPERATOR) ? "overview" : "market";
    const { title, needs } = this._pages[chosen];
    this._page?.close();
    const isShut = needs !== undefined && !keyring.has(needs);
    this._page = isShut ? shut(title) : this._pages[chosen].open(this._console, rest);
    const heading = element("h1", { class: "unseen" }, title);
    this._main.replaceChildren(heading, this._page.node);
    document.title = `${title} – the island`;
    for (const link of this._links) link.toggleAttribute("aria-current", link.dataset.page === chosen);
    if (!isFirst) this._arrive();
  }

  /** Those who hear the page hear where they are. */
  _arrive() {
    this._main.focus({ preventScroll: true });
    scrollTo(0, 0);
  }

  _signed() {
    this._names();
    if (read(location.hash)[0] !== "keys") this._go({ isFirst: true });
  }

  _names() {
    const { keyring } = this._console;
    const names = [CLIENT, OPERATOR].filter((slot) => keyring.has(slot)).map((slot) => keyring.held(slot).name);
    say(this._who, names.length ? names.join(" · ") : "Sign in");
  }

  // --- how old things are ---

  _look() {
    const { feed } = this._console;
    const isOld = feed.oldMs > 0;
    const state = feed.isConnected && !isOld ? "live" : feed.isConnected ? "silent" : "connecting";
    say(this._link, state);
    this._link.dataset.tone = state === "live" ? "good" : "wary";
    this._banner.hidden = !isOld;
    say(this._old, isOld ? oldness(feed) : "");
    say(this._age, isOld ? `Age: ${Math.floor(feed.oldMs / 1000)} s` : "");
    document.body.classList.toggle("old", isOld);
  }
}

function oldness({ silentMs, isConnected }) {
  if (!silentMs) return "What you see is old: the gateway hears nothing from the venue’s nodes. ";
  return `What you see is old: nothing is heard from the venue. ${isConnected ? "" : "Connecting again. "}`;
}

function shut(title) {
  const node = element(
    "div",
    { class: "panel shut" },
    element(
      "p",
      {},
      `${title} is for operators. `,
      element("a", { href: address("keys") }, "Sign in"),
      " with a key that may operate.",
    ),
  );
  return { node, close: () => {} };
}
