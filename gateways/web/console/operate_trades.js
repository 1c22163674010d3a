/* A trade that was wrong: busted, or given another price or quantity. */

import { element } from "./elements.js";
import { field, panel } from "./panels.js";

export class TradeActions {
  constructor(actions) {
    this._actions = actions;
    const input = (name, more) => element("input", { name, autocomplete: "off", ...more });
    const decimal = {
      inputmode: "decimal",
      pattern: "\\d+(\\.\\d+)?",
      title: "A number such as 1.5",
      placeholder: "unchanged",
    };
    this._trade = input("trade", {
      inputmode: "numeric",
      pattern: "\\d+",
      required: true,
      title: "The trade’s number",
    });
    this._price = input("price", decimal);
    this._quantity = input("quantity", decimal);
    const form = element(
      "form",
      { class: "head line", onsubmit: (event) => this._sent(event) },
      field("Trade", this._trade),
      field("Right price", this._price),
      field("Right quantity", this._quantity),
      element("button", { name: "correct" }, "Correct"),
      element("button", { name: "bust", class: "harsh" }, "Bust"),
    );
    this.node = panel("Mend a trade", "trades", form);
  }

  _sent(event) {
    event.preventDefault();
    const trade = this._trade.value.trim();
    if (event.submitter.name === "bust") this._mend(`Bust trade ${trade}`, "Bust", trade, null, null);
    else
      this._mend(
        `Correct trade ${trade}`,
        "Correct",
        trade,
        this._price.value.trim() || null,
        this._quantity.value.trim() || null,
      );
  }

  _mend(title, verb, trade, price, quantity) {
    const terms = [price && `price ${price}`, quantity && `quantity ${quantity}`].filter(Boolean).join(", ");
    this._actions.confirm({
      title,
      verb,
      isHarsh: verb === "Bust",
      path: "trade",
      text: `${terms ? `It becomes: ${terms}. ` : ""}Credit and both clients’ reports are mended; the book stays.`,
      body: () => ({ trade: Number(trade), price, quantity }),
    });
  }
}
