/* The WebSocket: one connection, made again whenever it is lost, and what is subscribed to on it.

   pages --subscribe, ask--> Feed <--requests, messages--> venue
         <--messages--------      ---"heard", "change"---> shell, which says how old things are

   Rules
   - There is one subscription to a channel; another one takes its place.
   - A new connection takes up every subscription, each with a snapshot, and shows new tokens.
   - What has no answer when the connection is lost is rejected with LostError: whether it was done is not known.
   - What cannot be sent is rejected at once, with UnsentError: it was not done.
   - What is shown is old when nothing is heard from the gateway, or when the gateway says that it hears nothing itself. */

import { parse } from "./json.js";
import { Subscription } from "./subscription.js";

const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 5000;
/** Every second there is a heartbeat: a connection that is silent for so long, or not made in so long, is none. */
const SILENCE_MS = 8000;
const OLD_MS = 3000;
/** Until a subscription that was refused, or not answered, is asked for again. */
const AGAIN_MS = 2000;
const ANSWER_MS = 10000;

export class LostError extends Error {
  constructor() {
    super("The connection was lost before the answer came.");
  }
}

export class UnsentError extends Error {
  constructor() {
    super("There is no connection to the venue: try again when there is one.");
  }
}

/** Tells "change" when a connection is made or lost, "denied" (detail: slot, error) when a key is not accepted. */
export class Feed extends EventTarget {
  /** `tokens(slot)` promises a token of who is signed in there. */
  constructor(url, tokens) {
    super();
    this._url = url;
    this._issue = tokens;
    this._subscriptions = new Map();
    this._asked = new Map();
    this._tokens = new Map();
    this._count = 0;
    this._waitMs = FIRST_WAIT_MS;
    this._heardMs = performance.now();
    this._begunMs = 0;
    this._socket = null;
    /** Since when the gateway hears nothing from the venue; null while it does. */
    this._deafMs = null;
    this.isConnected = false;
  }

  /** How long nothing was heard; 0 while that is not long. */
  get silentMs() {
    const silentMs = performance.now() - this._heardMs;
    return silentMs > OLD_MS ? silentMs : 0;
  }

  /** Whether there is a gateway, which does not hear the venue. */
  get isDeaf() {
    return this._deafMs !== null;
  }

  /** How old is what is shown; 0 while it is of now. */
  get oldMs() {
    return Math.max(this.silentMs, this.isDeaf ? performance.now() - this._deafMs : 0);
  }

  /** Connect, and stay so. */
  open() {
    this._connect();
    setInterval(() => this._look(), 1000);
  }

  // --- requests ---

  /** Subscribe to a channel; see Subscription. */
  subscribe(channel, options) {
    this._subscriptions.get(channel)?.end();
    const made = new Subscription(this, channel, options);
    this._subscriptions.set(channel, made);
    this.begin(made);
    return made;
  }

  /** Have the venue begin a subscription, if there is a connection. */
  begin(subscription) {
    if (!this.isConnected) return;
    subscription.begin();
    const asked = this.ask("subscribe", subscription.request(), subscription.slot);
    Promise.race([asked, late()]).catch((error) => {
      if (isOfTheConnection(error) || this._subscriptions.get(subscription.channel) !== subscription) return;
      subscription.refused(error);
      setTimeout(() => this._retry(subscription), AGAIN_MS);
    });
  }

  _retry(subscription) {
    if (this._subscriptions.get(subscription.channel) === subscription && subscription.isWaiting)
      this.begin(subscription);
  }

  /** Have the venue end it; it stays one of ours. */
  drop(subscription) {
    if (!this.isConnected) return;
    this.ask("unsubscribe", subscription.request(), subscription.slot).catch(() => {}); // it may never have begun
  }

  /** End a subscription. */
  end(subscription) {
    if (this._subscriptions.get(subscription.channel) !== subscription) return;
    this._subscriptions.delete(subscription.channel);
    this.drop(subscription);
  }

  /** Promise the result of a request of `slot`. Rejects with what the venue says, LostError or UnsentError. */
  async ask(method, params, slot) {
    const socket = this._socket;
    if (!this.isConnected) throw new UnsentError();
    const token = slot === undefined ? {} : { token: await this._token(slot) };
    if (socket !== this._socket) throw new UnsentError();
    this._count += 1;
    const id = String(this._count);
    socket.send(JSON.stringify({ method, params: withoutSince(method, { ...params, ...token }), req_id: this._count }));
    return new Promise((resolve, reject) => this._asked.set(id, { resolve, reject }));
  }

  /** Somebody signed in or out: what was shown before counts no more. */
  forgetToken(slot) {
    this._tokens.delete(slot);
  }

  _token(slot) {
    if (!this._tokens.has(slot)) {
      const issued = this._issue(slot);
      this._tokens.set(slot, issued);
      issued.catch((error) => {
        this._tokens.delete(slot);
        this.dispatchEvent(new CustomEvent("denied", { detail: { slot, error } }));
      });
    }
    return this._tokens.get(slot);
  }

  // --- the connection ---

  _connect() {
    const socket = new WebSocket(this._url);
    const whileOurs = (act) => (event) => socket === this._socket && act(event);
    this._socket = socket;
    this._begunMs = performance.now();
    socket.addEventListener(
      "open",
      whileOurs(() => this._opened()),
    );
    socket.addEventListener(
      "message",
      whileOurs(({ data }) => this._take(parse(data))),
    );
    socket.addEventListener(
      "close",
      whileOurs(() => this._closed()),
    );
  }

  /** A dead peer does not answer a goodbye either: its socket is left behind. */
  _look() {
    const quietMs = performance.now() - Math.max(this._heardMs, this._begunMs);
    if (!this._socket || quietMs < SILENCE_MS) return;
    this._socket.close();
    this._closed();
  }

  _opened() {
    this.isConnected = true;
    this._heardMs = performance.now();
    this._tokens.clear();
    this.dispatchEvent(new Event("change"));
    for (const subscription of this._subscriptions.values()) this.begin(subscription);
  }

  _closed() {
    this._socket = null;
    this.isConnected = false;
    for (const { reject } of this._asked.values()) reject(new LostError());
    this._asked.clear();
    this.dispatchEvent(new Event("change"));
    setTimeout(() => this._connect(), this._waitMs * (0.75 + Math.random() / 2));
    this._waitMs = Math.min(2 * this._waitMs, LONGEST_WAIT_MS);
  }

  _take(message) {
    this._heardMs = performance.now();
    this._waitMs = FIRST_WAIT_MS;
    if (message.channel === "status") this._learn(message.data[0].system);
    else if (message.channel !== undefined) this._subscriptions.get(message.channel)?.take(message);
    else if (this._asked.has(message.req_id)) this._answered(message);
  }

  /** It says so once it has heard nothing for OLD_MS. */
  _learn(system) {
    if (system === "silent") this._deafMs ??= performance.now() - OLD_MS;
    else this._deafMs = null;
    this.dispatchEvent(new Event("change"));
  }

  _answered({ req_id: id, success, result, error }) {
    const { resolve, reject } = this._asked.get(id);
    this._asked.delete(id);
    if (success) resolve(result ?? {});
    else reject(Object.assign(new Error(error), { result }));
  }
}

/** A new connection begins all subscriptions anew. */
const isOfTheConnection = (error) => error instanceof LostError || error instanceof UnsentError;

const late = () => new Promise((_, reject) => setTimeout(() => reject(new Error("there is no answer yet")), ANSWER_MS));

/** Only a subscription goes on from somewhere. */
function withoutSince(method, params) {
  const { since, ...rest } = params;
  return method === "subscribe" && since !== undefined ? params : rest;
}
