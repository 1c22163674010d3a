/* Operating the venue. Every action asks for a reason, is confirmed, says what came of it, and is in the list below. */

import { Actions } from "./actions.js";
import { element } from "./elements.js";
import { perFrame } from "./frames.js";
import { OPERATOR } from "./keyring.js";
import { InstrumentActions } from "./operate_instruments.js";
import { LeadActions } from "./operate_lead.js";
import { PastActions } from "./operate_past.js";
import { PoisonActions } from "./operate_poison.js";
import { TradeActions } from "./operate_trades.js";
import { outcomeLine } from "./panels.js";

export const title = "Operate";
export const needs = OPERATOR;
const REFRESH_MS = 3000;

/** Open the page. */
export function open(console) {
  return new Operate(console);
}

class Operate {
  constructor({ rest, instruments }) {
    const actions = new Actions(rest, () => this._look());
    this._rest = rest;
    this._instruments = instruments;
    this._isOpen = true;
    this._outcome = outcomeLine();
    this._parts = {
      lead: new LeadActions(actions),
      trades: new TradeActions(actions),
      instruments: new InstrumentActions(actions),
      poison: new PoisonActions(actions),
      past: new PastActions(),
    };
    this.node = element(
      "div",
      { class: "operate" },
      this._outcome.node,
      Object.values(this._parts).map(({ node }) => node),
    );
    this._follow = perFrame(() => this._parts.instruments.show(instruments.rows));
    instruments.addEventListener("change", this._follow);
    this._follow();
    this._look();
    this._timer = setInterval(() => this._look(), REFRESH_MS);
  }

  close() {
    this._isOpen = false;
    clearInterval(this._timer);
    this._instruments.removeEventListener("change", this._follow);
  }

  async _look() {
    try {
      const [venue, poison, actions] = await Promise.all(
        ["", "/poison", "/actions"].map((path) => this._rest.get(`/v1/venue${path}`, OPERATOR)),
      );
      if (!this._isOpen) return;
      this._parts.lead.show(venue.nodes);
      this._parts.poison.show(poison.poison);
      this._parts.past.show(actions.actions);
      this._outcome.say("");
    } catch (error) {
      this._outcome.say(error.message, "bad");
    }
  }
}
