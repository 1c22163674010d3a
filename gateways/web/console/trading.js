/* A client's orders, executions and credit, as the venue tells them, and what the client asks for.

   executions, credit --> Trading --"change"--> panels
   panels --add, amend, cancel--> Trading --> venue

   Rules
   - Every execution counts once, by its `exec_id`, whether it is news, was missed, or is read from the log.
   - Who comes back says what was seen last; what memory does not hold any more is read over REST.
   - Each order has an id of ours: when its answer is lost, the executions still say what became of it. */

import { LostError } from "./feed.js";
import { CLIENT } from "./keyring.js";

/** How far back in the log is read at a time, and how many executions are kept. */
const BACK = 20000;
const KEPT = 500;
const LOST_PATIENCE_MS = 30000;
const ENDS = new Set(["canceled", "expired"]);

export class Trading extends EventTarget {
  constructor(feed, rest) {
    super();
    this._feed = feed;
    this._rest = rest;
    this._subscriptions = [];
    this._run = 0;
    this._forget();
  }

  /** All live orders, the oldest first. */
  get orders() {
    return [...this._orders.values()];
  }

  /** The latest executions, the latest first: at least KEPT, if there are so many. */
  get executions() {
    return [...this._executions.values()].sort((one, other) => Number(other.log_sequence) - Number(one.log_sequence));
  }

  /** Begin, for the client that is signed in. */
  begin() {
    this._watch(undefined);
    this._subscriptions.push(
      this._feed.subscribe("credit", { params: () => ({}), hear: ({ data }) => this._takeCredit(data), slot: CLIENT }),
    );
  }

  /** The client is gone: so is everything that was told to it. */
  end() {
    this._run += 1;
    for (const subscription of this._subscriptions.splice(0)) subscription.end();
    this._forget();
    this._changed();
  }

  // --- what the client asks for ---

  /** Enter an order; promises its first row. */
  async add(terms) {
    const clOrdId = newOrderId();
    try {
      return await this._feed.ask("add_order", { ...terms, cl_ord_id: clOrdId }, CLIENT);
    } catch (error) {
      if (!(error instanceof LostError)) throw error;
      return this._outcomeOf(clOrdId);
    }
  }

  /** Give an order another price or total quantity. */
  amend(order, terms) {
    return this._feed.ask("amend_order", { order_id: order.order_id, ...terms }, CLIENT);
  }

  /** Cancel an order. */
  cancel(order) {
    return this._feed.ask("cancel_order", { order_id: [order.order_id] }, CLIENT);
  }

  /** Cancel all orders of an instrument. */
  cancelAll(symbol) {
    return this._feed.ask("cancel_all", { symbol }, CLIENT);
  }

  /** What the executions say of an order whose answer was lost; rejects where they do not, for a while. */
  _outcomeOf(clOrdId) {
    return new Promise((resolve, reject) => {
      const look = () => {
        const row = [...this._executions.values()].find((one) => one.cl_ord_id === clOrdId);
        if (row?.exec_type === "rejected") finish(reject, new Error(row.reason));
        else if (row) finish(resolve, row);
      };
      const finish = (settle, value) => {
        this.removeEventListener("change", look);
        clearTimeout(timer);
        settle(value);
      };
      const timer = setTimeout(() => finish(reject, new LostError()), LOST_PATIENCE_MS);
      this.addEventListener("change", look);
    });
  }

  // --- what the venue tells ---

  /** Begin with what the gateway's memory has of the past; where that does not reach back, read from `readFrom` on. */
  _watch(readFrom) {
    let from = readFrom;
    const subscription = this._feed.subscribe("executions", {
      params: () => (from === undefined ? { since: this._seen } : {}),
      hear: (message) => {
        this._take(message);
        if (from) this._read(from, this._seen);
        from = undefined;
      },
      refused: (error) => this._refused(error, from),
      slot: CLIENT,
    });
    this._subscriptions = this._subscriptions.filter(({ channel }) => channel !== "executions").concat(subscription);
  }

  /** The log is read anew for what memory does not hold: at once for what was missed, on demand for what was before. */
  _refused(error, from) {
    if (from === undefined) {
      this.isPartial = this.isPartial || this._seen === 0;
      this._watch(this._seen);
    } else {
      this.complaint = `Your orders are not told: ${error.message}`;
    }
    this._changed();
  }

  /** Promise that executions from before the oldest one that is known are read, for a stretch of the log. */
  readEarlier() {
    const oldest = Math.min(this._seen, ...[...this._executions.values()].map((one) => Number(one.log_sequence)));
    this.isPartial = oldest > BACK;
    return this._read(Math.max(0, oldest - BACK), oldest);
  }

  /** Read the executions between two places of the log. */
  async _read(from, upTo) {
    const run = this._run;
    let since = from;
    while (since < upTo) {
      const answer = await this._rest.get(`/v1/executions?since=${since}&count=1000`, CLIENT).catch(() => null);
      if (answer === null || run !== this._run || Number(answer.log_sequence) <= since) return;
      answer.executions.forEach((row) => this._note(row));
      since = Number(answer.log_sequence);
      this._changed();
    }
  }

  _take({ type, data, since, log_sequence: place }) {
    this.complaint = "";
    if (type === "snapshot") {
      this._orders = new Map(data.map((order) => [order.order_id, order]));
      (since ?? []).forEach((row) => this._note(row));
      this._seen = Math.max(this._seen, Number(place));
    } else {
      for (const row of data) {
        this._follow(row);
        this._note(row);
        this._seen = Math.max(this._seen, Number(row.log_sequence));
      }
    }
    this._changed();
  }

  /** What an execution makes of an order that lives. */
  _follow(row) {
    const id = row.order_id;
    if (ENDS.has(row.exec_type) || Number(row.leaves_qty) === 0) this._orders.delete(id);
    else if (row.exec_type === "new" || this._orders.has(id)) this._orders.set(id, merged(this._orders.get(id), row));
  }

  _note(row) {
    this._executions.set(row.exec_id, row);
    if (this._executions.size < 2 * KEPT) return;
    this._executions = new Map(this.executions.slice(0, KEPT).map((one) => [one.exec_id, one]));
  }

  _takeCredit(rows) {
    this.credit = rows;
    this._changed();
  }

  _forget() {
    this._orders = new Map();
    this._executions = new Map();
    this._seen = 0;
    this.credit = [];
    /** Whether there may be executions before the oldest one that is known. */
    this.isPartial = false;
    /** Why orders may not be as they are shown; "" where they are. */
    this.complaint = "";
  }

  _changed() {
    this.dispatchEvent(new Event("change"));
  }
}

/** A row that refuses something does not change the order that it was about. */
function merged(before, row) {
  if (row.exec_type.endsWith("rejected")) return before;
  return { ...before, ...row };
}

/** Never the same twice: the time, and chance. */
function newOrderId() {
  const chance = crypto.getRandomValues(new Uint32Array(1))[0].toString(36);
  return `c-${Date.now().toString(36)}-${chance}`;
}
