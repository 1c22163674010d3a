/* Clients and their credit, for operators: credit is set, adjusted, settled, orders canceled, clients blocked and let in again. */

import { Actions } from "./actions.js";
import { amountColumn } from "./amounts.js";
import { grouped } from "./decimals.js";
import { element, say } from "./elements.js";
import { OPERATOR } from "./keyring.js";
import { outcomeLine, panel } from "./panels.js";
import { Table } from "./tables.js";

export const title = "Clients";
export const needs = OPERATOR;
const WAIT_MS = 200;
const REFRESH_MS = 5000;

/** Open the page. */
export function open(console) {
  return new Clients(console);
}

class Clients {
  constructor({ rest }) {
    this._rest = rest;
    this._asked = 0;
    this._actions = new Actions(rest, () => this._look());
    this._outcome = outcomeLine();
    this._count = element("span", { class: "count", role: "status" });
    this._find = element("input", {
      type: "search",
      "aria-label": "Find a client",
      placeholder: "Find a client",
      autocomplete: "off",
      oninput: () => this._soon(),
    });
    this._table = new Table("Clients", this._columns(), {
      key: ({ client, currency }) => JSON.stringify([client, currency]),
      empty: "No such client.",
      stacks: "stacks-early",
    });
    this.node = panel(
      "Clients",
      "clients",
      element(
        "div",
        {},
        element("div", { class: "head" }, this._find, this._count),
        this._outcome.node,
        this._table.node,
      ),
    );
    this._timer = setInterval(() => this._look(), REFRESH_MS);
    this._look();
  }

  close() {
    clearInterval(this._timer);
    clearTimeout(this._typing);
    this._asked = null;
  }

  _columns() {
    return [
      { title: "Client", text: (row) => row.client, isWide: true },
      {
        title: "State",
        text: (row) => (row.blocked ? "blocked" : "open"),
        tone: (row) => (row.blocked ? "state bad" : "state good"),
      },
      { title: "Currency", text: (row) => row.currency ?? "none" },
      amountColumn("Limit", "limit"),
      amountColumn("Free", "free"),
      amountColumn("Reserved", "reserved"),
      amountColumn("Used", "used"),
      {
        title: "Do",
        node: (_row, now) => this._buttons(now),
        update: (cell, row) => say(cell.querySelector(".block"), row.blocked ? "Unblock" : "Block"),
      },
    ];
  }

  _soon() {
    clearTimeout(this._typing);
    this._typing = setTimeout(() => this._look(), WAIT_MS);
  }

  /** The last question's answer counts, whichever comes last. */
  async _look() {
    if (this._asked === null) return;
    this._asked += 1;
    const asked = this._asked;
    try {
      const found = await this._rest.get(`/v1/venue/clients?find=${encodeURIComponent(this._find.value)}`, OPERATOR);
      if (asked === this._asked) this._show(found);
    } catch (error) {
      if (asked === this._asked) this._outcome.say(error.message, "bad");
    }
  }

  _show({ clients, total }) {
    this._outcome.say("");
    const rows = clients.flatMap(({ client, blocked, credit }) =>
      (credit.length ? credit : [{}]).map((one) => ({ client, blocked, ...one })),
    );
    say(
      this._count,
      clients.length < Number(total)
        ? `${grouped(clients.length)} of ${grouped(total)} clients`
        : `${grouped(total)} clients`,
    );
    this._table.show(rows);
  }

  // --- actions ---

  _buttons(now) {
    const button = (text, act, name) => element("button", { class: name, onclick: () => act(now()) }, text);
    return element(
      "span",
      { class: "buttons" },
      button("Set", (row) => this._set(row)),
      button("Adjust", (row) => this._adjust(row)),
      button("Settle", (row) => this._settle(row)),
      button("Cancel orders", (row) => this._cancel(row)),
      button("Block", (row) => this._block(row), "block"),
    );
  }

  _set({ client, currency, limit }) {
    this._actions.command({
      title: `Set the credit of ${client}`,
      verb: "Set credit",
      fields: [
        currencyField(currency),
        { name: "limit", label: "Limit", value: limit ?? "", required: true, inputmode: "decimal" },
      ],
      command: (values) => ({ type: "SetCredit", client, ...values }),
    });
  }

  _adjust({ client, currency }) {
    this._actions.command({
      title: `Adjust the credit of ${client}`,
      text: "The amount is added to the limit; one below zero takes away.",
      verb: "Adjust credit",
      fields: [currencyField(currency), { name: "amount", label: "Amount", required: true }],
      command: (values) => ({ type: "AdjustCredit", client, ...values }),
    });
  }

  _settle({ client, currency, used }) {
    this._actions.command({
      title: `Settle what ${client} has used`,
      text: "The amount was paid: so much of what its trades use is free again.",
      verb: "Settle",
      fields: [
        currencyField(currency),
        { name: "amount", label: "Amount", value: used ?? "", required: true, inputmode: "decimal" },
      ],
      command: (values) => ({ type: "Settle", client, ...values }),
    });
  }

  _cancel({ client }) {
    this._actions.command({
      title: `Cancel the orders of ${client}`,
      text: "It can enter new ones at once: block it where it should not.",
      verb: "Cancel all",
      isHarsh: true,
      fields: [{ name: "symbol", label: "Symbol, if not all", autocapitalize: "characters" }],
      command: ({ symbol }) => ({ type: "CancelAll", account: client, ...(symbol && { symbol }) }),
    });
  }

  _block({ client, blocked }) {
    this._actions.command({
      title: blocked ? `Let ${client} trade again` : `Block ${client}`,
      text: blocked ? "New orders are taken again." : "All its orders are canceled, and new ones refused.",
      verb: blocked ? "Unblock" : "Block",
      isHarsh: !blocked,
      command: () => ({ type: blocked ? "UnblockClient" : "BlockClient", client }),
    });
  }
}

const currencyField = (currency) => ({ name: "currency", label: "Currency", value: currency ?? "", required: true });
