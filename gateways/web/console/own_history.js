/* What became of the client's orders, and what the client may spend. */

import { amountColumn } from "./amounts.js";
import { grouped, short } from "./decimals.js";
import { element } from "./elements.js";
import { address } from "./routes.js";
import { Table } from "./tables.js";
import { clock } from "./times.js";

const SHOWN = 200;

export class OwnExecutions {
  /** `mayLookUp()`: whether a place of the log can be followed. */
  constructor(trading, mayLookUp) {
    this._trading = trading;
    this._table = new Table(
      "Executions",
      [
        { title: "Time", text: (one) => clock(one.timestamp, { millis: true }), hint: (one) => one.timestamp },
        { title: "What", text: what, tone: (one) => TONES[one.exec_type] ?? "" },
        { title: "Instrument", text: (one) => one.symbol ?? "" },
        { title: "Side", text: (one) => one.side ?? "", tone: (one) => one.side ?? "" },
        { title: "Price", text: (one) => grouped(one.last_price ?? one.limit_price ?? ""), isNumber: true },
        { title: "Quantity", text: (one) => short(one.last_qty ?? one.order_qty ?? ""), isNumber: true },
        { title: "Left", text: (one) => short(one.leaves_qty ?? ""), isNumber: true },
        { title: "Order", text: (one) => one.order_id ?? "", hint: (one) => one.cl_ord_id ?? "", isNumber: true },
        { title: "Log", node: (one) => placeOf(one, mayLookUp()), isNumber: true },
      ],
      { key: (one) => one.exec_id, empty: "No executions of late.", stacks: "stacks" },
    );
    this.earlier = element("button", { onclick: () => this._readEarlier() }, "Read earlier ones");
    this.node = this._table.node;
  }

  /** Draw. */
  show() {
    this._table.show(this._trading.executions.slice(0, SHOWN));
    this.earlier.hidden = !this._trading.isPartial && !this.earlier.disabled;
  }

  /** The venue reads its log for it, which takes a while. */
  async _readEarlier() {
    this.earlier.disabled = true;
    await this._trading.readEarlier();
    this.earlier.disabled = false;
    this.show();
  }
}

const TONES = {
  trade: "good",
  rejected: "bad",
  cancel_rejected: "bad",
  amend_rejected: "bad",
  trade_busted: "bad",
  trade_corrected: "wary",
};

function what(one) {
  const reason = one.reason ? `: ${one.reason}` : "";
  const role = { m: ", maker", t: ", taker" }[one.liquidity_ind] ?? "";
  return `${one.exec_type}${role}${reason}`.replaceAll("_", " ");
}

function placeOf({ log_sequence: place }, mayLookUp) {
  return mayLookUp ? element("a", { href: address("log", place) }, grouped(place)) : grouped(place);
}

export class OwnCredit {
  constructor(trading) {
    this._trading = trading;
    this._table = new Table(
      "Credit",
      [
        { title: "Currency", text: (one) => one.currency },
        amountColumn("Limit", "limit"),
        amountColumn("Free", "free"),
        amountColumn("Reserved", "reserved"),
        amountColumn("Used", "used"),
      ],
      { key: (one) => one.currency, empty: "No credit yet: an operator grants it.", stacks: "stacks" },
    );
    this.node = this._table.node;
    this._table.node.classList.add("credit");
  }

  /** Draw. */
  show() {
    this._table.show(this._trading.credit);
  }
}
