/* Instruments: halted, resumed, made; and all orders of one, or of all, canceled. */

import { grouped } from "./decimals.js";
import { element, say } from "./elements.js";
import { panel } from "./panels.js";
import { Table } from "./tables.js";
import { stateColumn } from "./tones.js";

const TERMS = [
  { name: "symbol", label: "Symbol", required: true },
  { name: "tick", label: "Tick: the smallest step of a price", value: "0.01", required: true, inputmode: "decimal" },
  {
    name: "lot",
    label: "Lot: the smallest step of a quantity",
    value: "0.00000001",
    required: true,
    inputmode: "decimal",
  },
  { name: "currency", label: "Currency", value: "USD", required: true },
  { name: "price_low", label: "Lowest price, if there is one", inputmode: "decimal" },
  { name: "price_high", label: "Highest price, if there is one", inputmode: "decimal" },
];

export class InstrumentActions {
  constructor(actions) {
    this._actions = actions;
    const number = (title, name) => ({ title, text: (row) => grouped(row[name] ?? "–"), isNumber: true });
    this._table = new Table(
      "Instruments",
      [
        { title: "Symbol", text: (row) => row.symbol, isWide: true },
        stateColumn("Status", "status"),
        number("Tick", "price_increment"),
        number("Lot", "qty_increment"),
        { title: "Currency", text: (row) => row.quote },
        number("Lowest", "price_low"),
        number("Highest", "price_high"),
        {
          title: "Do",
          node: (_row, now) => this._buttons(now),
          update: (cell, row) => say(cell.querySelector(".switch"), row.status === "halted" ? "Resume" : "Halt"),
        },
      ],
      { key: (row) => row.symbol, empty: "No instruments yet.", stacks: "stacks" },
    );
    const make = element("button", { onclick: () => this._make() }, "New instrument");
    const cancel = element("button", { class: "harsh", onclick: () => this._cancel("") }, "Cancel everything");
    const buttons = element("span", { class: "buttons" }, make, cancel);
    this.node = panel("Instruments", "instruments", this._table.node, buttons);
  }

  /** Rows of the channel `instrument`. */
  show(rows) {
    this._table.show(rows);
  }

  _buttons(now) {
    return element(
      "span",
      { class: "buttons" },
      element("button", { class: "switch", onclick: () => this._switch(now()) }, "Halt"),
      element("button", { onclick: () => this._cancel(now().symbol) }, "Cancel orders"),
    );
  }

  /** Of an instrument; of all for "". */
  _cancel(symbol) {
    this._actions.command({
      title: `Cancel all orders ${symbol ? `in ${symbol}` : "of the venue"}`,
      text: "Of all clients. New ones are taken at once: halt what should stand still.",
      verb: "Cancel all",
      isHarsh: true,
      command: () => ({ type: "CancelAll", ...(symbol && { symbol }) }),
    });
  }

  _switch({ symbol, status }) {
    const isHalted = status === "halted";
    this._actions.command({
      title: isHalted ? `Resume ${symbol}` : `Halt ${symbol}`,
      text: isHalted ? "New orders are taken again." : "New orders are refused; those in the book can be canceled.",
      verb: isHalted ? "Resume" : "Halt",
      isHarsh: !isHalted,
      command: () => ({ type: isHalted ? "ResumeInstrument" : "HaltInstrument", symbol }),
    });
  }

  _make() {
    this._actions.command({
      title: "New instrument",
      text: "Of one that is there, the price band is moved.",
      verb: "Set instrument",
      fields: TERMS,
      command: (values) => ({
        type: "SetInstrument",
        ...Object.fromEntries(Object.entries(values).filter(([, value]) => value)),
      }),
    });
  }
}
