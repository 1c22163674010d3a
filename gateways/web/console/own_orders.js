/* The client's live orders, each with what may be done with it. */

import { grouped, short } from "./decimals.js";
import { ask } from "./dialogs.js";
import { element, say } from "./elements.js";
import { outcomeLine } from "./panels.js";
import { Table } from "./tables.js";

export class OwnOrders {
  /** `symbol()`: the instrument that is looked at. */
  constructor(trading, symbol) {
    this._trading = trading;
    this._symbol = symbol;
    this._outcome = outcomeLine();
    this._table = new Table(
      "Live orders",
      [
        { title: "Instrument", text: (one) => one.symbol },
        { title: "Side", text: (one) => one.side, tone: (one) => one.side },
        { title: "Price", text: (one) => grouped(one.limit_price), isNumber: true },
        { title: "Quantity", text: (one) => short(one.order_qty ?? ""), isNumber: true },
        { title: "Left", text: (one) => short(one.leaves_qty ?? ""), isNumber: true },
        { title: "Order", text: (one) => one.order_id, hint: (one) => one.cl_ord_id, isNumber: true },
        { title: "Do", node: (_one, now) => this._buttons(now) },
      ],
      { key: (one) => one.order_id, empty: "No live orders.", stacks: "stacks" },
    );
    this.cancelAll = element("button", { onclick: () => this._cancelAll() }, "Cancel all");
    this._complaint = element("p", { class: "complaint", role: "status" });
    this.node = element("div", {}, this._complaint, this._table.node, this._outcome.node);
  }

  /** Draw. */
  show() {
    this._table.show(this._trading.orders);
    say(this._complaint, this._trading.complaint);
    this.cancelAll.disabled = !this._trading.orders.some(({ symbol }) => symbol === this._symbol());
  }

  _buttons(now) {
    return element(
      "span",
      { class: "buttons" },
      element("button", { onclick: () => this._amend(now()), "aria-label": `Amend order ${now().order_id}` }, "Amend"),
      element(
        "button",
        { onclick: () => this._cancel(now()), "aria-label": `Cancel order ${now().order_id}` },
        "Cancel",
      ),
    );
  }

  _amend(order) {
    ask({
      title: `Amend order ${order.order_id}`,
      text: `${order.side} ${order.symbol}: ${short(order.leaves_qty)} of ${short(order.order_qty)} is left.`,
      verb: "Amend",
      fields: [
        { name: "limit_price", label: "Price", value: order.limit_price, inputmode: "decimal", required: true },
        {
          name: "order_qty",
          label: "Total quantity",
          value: short(order.order_qty),
          inputmode: "decimal",
          required: true,
        },
      ],
      act: async (terms) => {
        await this._trading.amend(order, terms);
        return "Amended.";
      },
    });
  }

  async _cancel(order) {
    await this._told(this._trading.cancel(order), `Order ${order.order_id} is canceled.`);
  }

  async _cancelAll() {
    await this._told(this._trading.cancelAll(this._symbol()), `All orders in ${this._symbol()} are canceled.`);
  }

  async _told(done, words) {
    try {
      await done;
      this._outcome.say(words, "good");
    } catch (error) {
      this._outcome.say(`Refused: ${error.message.replaceAll("_", " ")}`, "bad");
    }
  }
}
