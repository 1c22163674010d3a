/* The latest trades, the latest first. */

import { grouped } from "./decimals.js";
import { Table } from "./tables.js";
import { clock } from "./times.js";

const KEPT = 50;

export class Tape {
  constructor() {
    this._trades = [];
    this._table = new Table(
      "Trades",
      [
        { title: "Price", text: (one) => grouped(one.price), isNumber: true, tone: (one) => one.side },
        { title: "Quantity", text: (one) => one.qty, isNumber: true },
        { title: "Time", text: (one) => clock(one.timestamp), hint: (one) => one.timestamp, isNumber: true },
      ],
      { key: (one) => one.trade_id, empty: "No trades yet." },
    );
    this._table.node.tabIndex = 0; // it scrolls, so a keyboard has to reach it
    this.node = this._table.node;
    this.node.classList.add("tape");
  }

  /** A message of the channel `trade`. */
  take({ type, data }) {
    const before = type === "snapshot" ? [] : this._trades;
    this._trades = [...[...data].reverse(), ...before].slice(0, KEPT);
  }

  /** Draw. */
  show() {
    this._table.show(this._trades);
  }
}
