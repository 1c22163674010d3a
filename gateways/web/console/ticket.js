/* The order ticket: what is asked for, what it would cost, and what the venue said.

   What cannot be an order is said before it is sent; all else is the venue's to decide. */

import { decimal, grouped, isPositive, units } from "./decimals.js";
import { element, say } from "./elements.js";
import { UnsentError } from "./feed.js";
import { field, outcomeLine } from "./panels.js";

const TIMES = { gtc: "Until canceled", ioc: "Immediate or cancel", fok: "Fill or kill", gtd: "Until a time" };

export class Ticket {
  /** `instrument()` is the row of the channel `instrument`; `add(terms)` promises the venue's answer. */
  constructor({ instrument, add }) {
    this._instrument = instrument;
    this._add = add;
    this._outcome = outcomeLine();
    this._cost = element("b", { class: "cost" });
    this._submit = element("button", { type: "submit", class: "main" });
    this.node = this._form();
    this._follow();
  }

  /** Somebody pointed at a price. */
  choose(price) {
    this._price.value = price;
    this._follow();
  }

  /** The instrument is another one, or has changed. */
  refresh() {
    this._follow();
  }

  _form() {
    const decimalInput = {
      inputmode: "decimal",
      autocomplete: "off",
      pattern: "\\d+(\\.\\d+)?",
      title: "A number such as 1.5",
    };
    this._quantity = element("input", { name: "quantity", required: true, ...decimalInput });
    this._price = element("input", { name: "price", ...decimalInput });
    this._time = element(
      "select",
      { name: "time" },
      Object.entries(TIMES).map(([value, text]) => element("option", { value }, text)),
    );
    this._until = element("input", { name: "until", type: "datetime-local", step: 1 });
    this._untilField = field("Until", this._until);
    this._postOnly = element("input", { name: "post", type: "checkbox" });
    this._priceField = field("Price", this._price);
    return element(
      "form",
      { class: "ticket", oninput: () => this._follow(), onsubmit: (event) => this._sent(event) },
      choice("side", "Side", { buy: "Buy", sell: "Sell" }),
      choice("kind", "Type", { limit: "Limit", market: "Market" }),
      field("Quantity", this._quantity),
      this._priceField,
      field("In force", this._time),
      this._untilField,
      element("label", { class: "check" }, this._postOnly, element("span", {}, "Post only")),
      element("p", { class: "cost-line" }, element("span", {}, "At most "), this._cost),
      this._submit,
      this._outcome.node,
    );
  }

  /** Keep the form true to itself. */
  _follow() {
    const { side, kind } = this._choices();
    const isLimit = kind === "limit";
    this._price.required = isLimit;
    this._price.placeholder = isLimit ? "" : "the price band";
    say(this._priceField.firstChild, isLimit ? "Price" : "Worst price");
    this._untilField.hidden = this._time.value !== "gtd";
    this._until.required = !this._untilField.hidden;
    this._postOnly.disabled = !isLimit;
    const { symbol = "", status, quote } = this._instrument() ?? {};
    say(this._submit, `${side === "buy" ? "Buy" : "Sell"} ${symbol}`);
    this._submit.dataset.side = side;
    this._submit.disabled = symbol === "";
    say(this._cost, status === "halted" ? "halted: no orders are taken" : this._costText(quote));
  }

  _costText(quote) {
    const { price_precision: ticks = 0, qty_precision: lots = 0 } = this._instrument() ?? {};
    const [price, quantity] = [this._price.value.trim(), this._quantity.value.trim()];
    if (!isPositive(price) || !isPositive(quantity)) return "–";
    const places = [Number(ticks), Number(lots)];
    const cost = units(price, places[0]) * units(quantity, places[1]);
    return `${grouped(decimal(cost, places[0] + places[1]).replace(/(\.\d{2})\d*$/, "$1"))} ${quote}`;
  }

  _choices() {
    const form = new FormData(this.node ?? undefined);
    return { side: form.get("side") ?? "buy", kind: form.get("kind") ?? "limit" };
  }

  async _sent(event) {
    event.preventDefault();
    this._submit.disabled = true;
    this._outcome.say("Asking the venue …");
    try {
      const answer = await this._add(this._terms());
      this._outcome.say(`Accepted: order ${answer.order_id ?? ""} is in the log.`, "good");
    } catch (error) {
      const what = error instanceof UnsentError ? "Not sent" : "Refused";
      this._outcome.say(`${what}: ${error.message.replaceAll("_", " ")}`, "bad");
    }
    this._submit.disabled = false;
  }

  _terms() {
    const { side, kind } = this._choices();
    const price = this._price.value.trim();
    return {
      symbol: this._instrument().symbol,
      side,
      order_type: kind,
      order_qty: this._quantity.value.trim(),
      time_in_force: this._timeInForce(kind),
      ...(price && { limit_price: price }),
      ...(kind === "limit" && this._postOnly.checked && { post_only: true }),
      ...(!this._untilField.hidden && { expire_time: new Date(this._until.value).toISOString() }),
    };
  }

  /** A market order cannot wait: where nothing else is said it is immediate. */
  _timeInForce(kind) {
    return kind === "market" && this._time.value === "gtc" ? "ioc" : this._time.value;
  }
}

function choice(name, legend, options) {
  return element(
    "fieldset",
    { class: `choice choice-${name}` },
    element("legend", { class: "unseen" }, legend),
    Object.entries(options).map(([value, text], at) =>
      element(
        "label",
        {},
        element("input", { type: "radio", name, value, checked: at === 0 }),
        element("span", {}, text),
      ),
    ),
  );
}
