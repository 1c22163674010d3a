/* Signing in and out: a key of a client for trading, one of an operator for everything else, or both. */

import { element } from "./elements.js";
import { CLIENT, OPERATOR } from "./keyring.js";
import { field, outcomeLine, panel } from "./panels.js";
import { address } from "./routes.js";

export const title = "Keys";
const SLOTS = { [CLIENT]: "Client", [OPERATOR]: "Operator" };
const WHAT = { [CLIENT]: "trades", [OPERATOR]: "operates the venue" };

/** Open the page. */
export function open(console) {
  return new Keys(console);
}

class Keys {
  constructor({ keyring, rest }) {
    this._keyring = keyring;
    this._rest = rest;
    this._outcome = outcomeLine();
    this._slots = element("div", { class: "slots" });
    this.node = element(
      "div",
      { class: "keys" },
      panel("Sign in", "", this._form()),
      panel("Who is signed in", "", this._slots),
    );
    this._show();
    keyring.addEventListener("change", this._show);
  }

  close() {
    this._keyring.removeEventListener("change", this._show);
  }

  _form() {
    this._key = element("input", { name: "key", required: true, autocomplete: "username", spellcheck: "false" });
    this._secret = element("input", { name: "secret", type: "password", required: true, autocomplete: "off" });
    this._submit = element("button", { type: "submit", class: "main" }, "Sign in");
    return element(
      "form",
      { class: "sign-in", onsubmit: (event) => this._signIn(event) },
      element(
        "p",
        {},
        "A key and its secret come from ",
        element("code", {}, "sequencer api-key issue NAME"),
        ". The secret stays in this tab, where requests are signed; signing out or closing the tab forgets it.",
      ),
      field("Key", this._key),
      field("Secret", this._secret),
      this._submit,
      this._outcome.node,
    );
  }

  async _signIn(event) {
    event.preventDefault();
    const [key, secret] = [this._key.value.trim(), this._secret.value.trim()];
    this._submit.disabled = true;
    this._outcome.say("Asking the venue …");
    try {
      const token = await this._rest.token({ key, secret });
      const slot = this._keyring.keep(key, secret, token);
      event.target.reset();
      this._outcome.say(`${token.client} is signed in, and ${WHAT[slot]}.`, "good");
    } catch (error) {
      this._outcome.say(refusal(error), "bad");
    }
    this._submit.disabled = false;
  }

  _show = () => {
    this._slots.replaceChildren(...Object.entries(SLOTS).map(([slot, word]) => this._slot(slot, word)));
  };

  _slot(slot, word) {
    const held = this._keyring.held(slot);
    if (!held)
      return element(
        "p",
        { class: "slot" },
        element("span", {}, element("small", {}, word), element("span", { class: "empty" }, "nobody")),
      );
    const page = slot === CLIENT ? address("market") : address("overview");
    return element(
      "p",
      { class: "slot" },
      element("span", {}, element("small", {}, word), element("b", {}, held.name), element("code", {}, held.key)),
      element(
        "span",
        { class: "buttons" },
        element("a", { class: "button", href: page }, slot === CLIENT ? "To the market" : "To the overview"),
        element("button", { onclick: () => this._keyring.forget(slot) }, `Sign out ${held.name}`),
      ),
    );
  }
}

function refusal(error) {
  return error.status === 401
    ? `The venue does not accept this key and secret. It says: ${error.message}`
    : error.message;
}
