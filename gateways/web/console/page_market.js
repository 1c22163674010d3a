/* The market: one instrument as everybody sees it, and, for a client that is signed in, trading in it. */

import { CandleChart } from "./candle_chart.js";
import { DepthChart } from "./depth_chart.js";
import { element, say } from "./elements.js";
import { perFrame } from "./frames.js";
import { CLIENT, OPERATOR } from "./keyring.js";
import { Ladder } from "./ladder.js";
import { DEPTH, MarketFeed } from "./market_feed.js";
import { OwnCredit, OwnExecutions } from "./own_history.js";
import { OwnOrders } from "./own_orders.js";
import { panel } from "./panels.js";
import { address } from "./routes.js";
import { Tape } from "./tape.js";
import { Ticker } from "./ticker.js";
import { Ticket } from "./ticket.js";
import { units, decimal } from "./decimals.js";

export const title = "Market";
const INTERVALS = { 1: "1 min", 5: "5 min", 15: "15 min", 30: "30 min", 60: "1 h", 240: "4 h", 1440: "1 day" };

/** Open the page; `rest` is [symbol]. */
export function open(console, [symbol]) {
  return new Market(console, symbol);
}

class Market {
  constructor({ feed, keyring, trading, instruments }, symbol) {
    Object.assign(this, { _feed: feed, _trading: trading, _instruments: instruments, _symbol: symbol ?? "" });
    this._isClient = keyring.has(CLIENT);
    this._draw = perFrame(() => this._show());
    this._ladder = new Ladder(DEPTH, (price) => this._ticket?.choose(price));
    this._parts = { ticker: new Ticker(), tape: new Tape(), candles: new CandleChart(), depth: new DepthChart() };
    this._complaint = element("p", { class: "complaint", role: "status" });
    this._select = element("select", { "aria-label": "Instrument", onchange: () => this._go(this._select.value) });
    this._status = element("span", { class: "status" });
    this._interval = element(
      "select",
      { "aria-label": "Interval", onchange: () => this._source?.show(Number(this._interval.value)) },
      Object.entries(INTERVALS).map(([value, text]) => element("option", { value }, text)),
    );
    this._own = this._isClient ? this._ownParts(keyring) : null;
    this.node = this._layout();
    trading.addEventListener("change", this._draw);
    instruments.addEventListener("change", this._follow);
    this._follow();
  }

  close() {
    this._trading.removeEventListener("change", this._draw);
    this._instruments.removeEventListener("change", this._follow);
    this._source?.end();
    this._draw = () => {};
  }

  // --- what it is made of ---

  _ownParts(keyring) {
    const trading = this._trading;
    this._ticket = new Ticket({
      instrument: () => this._instruments.get(this._symbol),
      add: (terms) => trading.add(terms),
    });
    return {
      orders: new OwnOrders(trading, () => this._symbol),
      executions: new OwnExecutions(trading, () => keyring.has(OPERATOR)),
      credit: new OwnCredit(trading),
    };
  }

  _layout() {
    const { ticker, tape, candles, depth } = this._parts;
    const head = element(
      "div",
      { class: "head" },
      this._select,
      this._status,
      ticker.node,
      this._isClient ? null : invitation(),
    );
    return element(
      "div",
      { class: `market ${this._isClient ? "trades" : ""}` },
      head,
      this._complaint,
      panel("Book", "book", this._ladder.node),
      panel("Candles", "candles", candles.node, this._interval),
      panel("Depth", "depth-panel", depth.node),
      panel("Trades", "trades-panel", tape.node),
      this._own ? this._ownPanels() : [],
    );
  }

  _ownPanels() {
    const { orders, executions, credit } = this._own;
    return [
      panel("Order", "ticket-panel", this._ticket.node),
      panel("My orders", "orders", orders.node, orders.cancelAll),
      panel("My credit", "credit-panel", credit.node),
      panel("My executions", "executions", executions.node, executions.earlier),
    ];
  }

  // --- what happens ---

  _go(symbol) {
    location.hash = address("market", symbol);
  }

  /** Instruments have come or changed. */
  _follow = () => {
    const symbols = this._instruments.symbols;
    const options = symbols.includes(this._symbol) || !this._symbol ? symbols : [this._symbol, ...symbols];
    if (options.join("\n") !== [...this._select.options].map(({ value }) => value).join("\n")) {
      this._select.replaceChildren(...options.map((symbol) => element("option", { value: symbol }, symbol)));
    }
    if (!this._symbol && symbols.length) this._symbol = symbols[0];
    this._select.value = this._symbol;
    if (this._symbol && !this._source && this._instruments.get(this._symbol)) this._begin();
    this._ticket?.refresh();
    this._draw();
  };

  _begin() {
    const interval = Number(this._interval.value);
    this._source = new MarketFeed(this._feed, this._symbol, interval, this._parts.tape, () => this._draw());
  }

  // --- drawing ---

  _show() {
    const instrument = this._instruments.get(this._symbol);
    say(this._status, statusOf(instrument, this._symbol, this._instruments.isKnown));
    this._status.dataset.tone = instrument?.status === "halted" ? "bad" : "good";
    if (this._source && instrument) this._showMarket(instrument);
    for (const part of Object.values(this._own ?? {})) part.show();
  }

  _showMarket({ price_precision: prices, qty_precision: quantities }) {
    const { book, ticker, candles, interval, complaint } = this._source;
    const depth = { bids: book.bids.slice(0, DEPTH), asks: book.asks.slice(0, DEPTH) };
    this._ladder.show(depth, ownLevels(this._trading.orders, this._symbol, Number(quantities)), Number(quantities));
    this._parts.depth.show(depth, Number(prices));
    this._parts.ticker.show(ticker);
    this._parts.candles.show(candles, interval, Number(prices));
    this._parts.tape.show();
    say(this._complaint, complaint);
  }
}

function statusOf(instrument, symbol, isKnown) {
  if (instrument) return instrument.status;
  if (!isKnown) return "…";
  return symbol ? "unknown here" : "no instruments yet";
}

/** What of each level is the reader's: side -> price -> quantity. */
function ownLevels(orders, symbol, places) {
  const levels = { buy: new Map(), sell: new Map() };
  for (const { symbol: its, side, limit_price: price, leaves_qty: left } of orders) {
    if (its !== symbol || !left) continue;
    const sum = units(levels[side].get(price) ?? "0", places) + units(left, places);
    levels[side].set(price, decimal(sum, places));
  }
  return levels;
}

const invitation = () =>
  element("p", {}, element("a", { href: address("keys") }, "Sign in"), " with a client’s key to trade.");
