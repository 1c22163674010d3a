/* One subscription to one channel: it hears a snapshot, then every update, and notices when one is missing.

   Rules
   - Until a snapshot has come updates are not heard: they belong to what was before it.
   - `sequence` grows by one. After a gap, or when its owner says `again`, it begins with a snapshot anew. */

export class Subscription {
  /** `params` makes what is asked for, each time anew; `hear(message)` takes what comes. */
  constructor(feed, channel, { params, hear, refused = () => {}, slot }) {
    this.channel = channel;
    this.slot = slot;
    this.refused = refused;
    this._feed = feed;
    this._params = params;
    this._hear = hear;
    this._sequence = null;
    /** Whether its snapshot is still to come. */
    this.isWaiting = true;
  }

  /** What it asks the venue for. */
  request() {
    return { channel: this.channel, ...this._params() };
  }

  /** The connection begins it; a snapshot will follow. */
  begin() {
    this.isWaiting = true;
  }

  /** A message of the channel. */
  take(message) {
    if (!this._isMine(message)) return;
    const sequence = sequenceOf(message);
    if (message.type === "snapshot") this.isWaiting = false;
    else if (this.isWaiting) return;
    else if (sequence !== null && this._sequence !== null && sequence !== this._sequence + 1) return this.again();
    this._sequence = sequence;
    this._hear(message);
  }

  /** Ask for a new snapshot. */
  again() {
    this._feed.drop(this);
    this._feed.begin(this);
  }

  /** Hear no more. */
  end() {
    this._feed.end(this);
  }

  /** What was asked for before, of another instrument or interval, may still be on its way. */
  _isMine(message) {
    const { symbol, interval } = this._params();
    const first = Array.isArray(message.data) ? message.data[0] : undefined;
    const isSymbol = !symbol || !first?.symbol || symbol.includes(first.symbol);
    return isSymbol && (!interval || !first?.interval || String(interval) === first.interval);
  }
}

function sequenceOf(message) {
  const text = message.sequence ?? message.data?.[0]?.sequence;
  return text === undefined ? null : Number(text);
}
