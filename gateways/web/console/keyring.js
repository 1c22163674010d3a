/* Who is signed in: at most one key that trades, and one that operates.

   Rules
   - A key counts once the venue has accepted it. What it may do says which of the two it is.
   - Secrets are kept in this tab's sessionStorage and nowhere else; signing out forgets them. */

const STORE = "island.keys";
export const CLIENT = "client";
export const OPERATOR = "operator";

/** Tells "change" whenever somebody signs in or out. */
export class Keyring extends EventTarget {
  constructor(storage) {
    super();
    this._storage = storage;
    this._held = JSON.parse(storage.getItem(STORE) ?? "{}");
  }

  /** {key, secret, name} of a slot, or undefined. */
  held(slot) {
    return this._held[slot];
  }

  /** Whether anybody is signed in there. */
  has(slot) {
    return this._held[slot] !== undefined;
  }

  /** Keep a key; `token` is what the venue said of it. Returns its slot. */
  keep(key, secret, token) {
    const slot = token.may.includes("operate") ? OPERATOR : CLIENT;
    this._store({ ...this._held, [slot]: { key, secret, name: token.client } }, slot);
    return slot;
  }

  /** Sign out. */
  forget(slot) {
    const rest = { ...this._held };
    delete rest[slot];
    this._store(rest, slot);
  }

  _store(held, slot) {
    this._held = held;
    this._storage.setItem(STORE, JSON.stringify(held));
    this.dispatchEvent(new CustomEvent("change", { detail: slot }));
  }
}
