/* REST: what is asked once, signed where it needs a key. An answer that is an error becomes a VenueError in words. */

import { parse } from "./json.js";
import { signed } from "./signing.js";

export class VenueError extends Error {
  /** `status`: as in docs/web.md; 0: there was no answer. */
  constructor(words, status) {
    super(words);
    this.status = status;
  }
}

export class Rest {
  constructor(keyring, origin) {
    this._keyring = keyring;
    this._origin = origin;
  }

  /** The answer to GET; `slot` says whose key signs it, if anybody's. */
  get(path, slot) {
    return this._ask("GET", path, "", this._keyring.held(slot));
  }

  /** The answer to POST of this value. */
  post(path, value, slot) {
    return this._ask("POST", path, JSON.stringify(value), this._keyring.held(slot));
  }

  /** A token for the WebSocket: it also shows that a key and its secret are good, and whose they are. */
  token({ key, secret }) {
    return this._ask("POST", "/v1/token", "", { key, secret });
  }

  async _ask(method, path, body, by) {
    const { pathname, search } = new URL(path, this._origin); // as the browser will write it: that is what is signed
    const headers = by ? await signed(by.key, by.secret, method, pathname + search, body) : {};
    const answer = await this._sent(pathname + search, { method, headers, body: body || undefined });
    const value = await parsed(answer);
    if (!answer.ok) throw new VenueError(value.error ?? `the gateway answers ${answer.status}`, answer.status);
    return value;
  }

  async _sent(path, options) {
    try {
      return await fetch(path, { ...options, cache: "no-store" });
    } catch {
      throw new VenueError("The gateway does not answer.", 0);
    }
  }
}

async function parsed(answer) {
  const text = await answer.text();
  try {
    return parse(text);
  } catch {
    return { error: `the gateway answers ${answer.status} ${answer.statusText}` };
  }
}
