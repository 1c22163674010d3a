/* Readers in a page of a browser: each keeps a book from what it is told, and checks every number and checksum.

   WebSocket --text--> Reader, by code of its own             --> problems, checked
                 \---> parse, Book: the console's own modules --> console_checked

   It is evaluated in a page of the console. Numbers stay as they were written, which JSON.parse tells its reviver. */

async ({ url, symbol, subscriptions }) => {
  const [{ parse }, { Book }] = await Promise.all(["json", "book"].map((name) => import(`/console/${name}.js`)));
  const TOP = 10;
  const SIGNS = { asks: 1, bids: -1 };

  const written = (text) =>
    JSON.parse(text, (_key, value, { source }) => (typeof value === "number" ? source : value));

  /** By the polynomial, bit for bit. */
  function crc32(text) {
    let rest = ~0;
    for (const letter of text) {
      rest ^= letter.charCodeAt(0);
      for (let bit = 0; bit < 8; bit += 1) rest = (rest >>> 1) ^ (0xedb88320 & -(rest & 1));
    }
    return ~rest >>> 0;
  }

  /** One side: price as a number -> what stands there, [price, quantity] by name; the prices in order. */
  class Side {
    constructor(sign) {
      this.sign = sign;
      this.clear();
    }
    clear() {
      this.queues = new Map();
      this.merits = [];
    }
    place(merit) {
      let [low, high] = [0, this.merits.length];
      while (low < high) {
        const middle = (low + high) >> 1;
        if (this.merits[middle] < merit) low = middle + 1;
        else high = middle;
      }
      return low;
    }
    queue(price) {
      const merit = Number(price) * this.sign;
      if (!this.queues.has(merit)) {
        this.merits.splice(this.place(merit), 0, merit);
        this.queues.set(merit, new Map());
      }
      return this.queues.get(merit);
    }
    remove(price, name) {
      const merit = Number(price) * this.sign;
      const queue = this.queues.get(merit);
      if (!queue?.delete(name)) return false;
      if (!queue.size) {
        this.queues.delete(merit);
        this.merits.splice(this.place(merit), 1);
      }
      return true;
    }
    pairs(count) {
      return this.merits.slice(0, count).flatMap((merit) => [...this.queues.get(merit).values()]);
    }
  }

  class Reader {
    constructor(params) {
      this.channel = params.channel;
      this.sides = Object.entries(SIGNS).map(([name, sign]) => [name, new Side(sign)]);
      this.told = { checked: 0, console_checked: 0, number: null, problems: [] };
      this.book = this.channel === "book" ? new Book() : null;
      this.socket = new WebSocket(url);
      const request = { method: "subscribe", params: { ...params, symbol: [symbol] } };
      this.socket.addEventListener("open", () => this.socket.send(JSON.stringify(request)));
      this.socket.addEventListener("message", ({ data }) => this.take(data));
      this.socket.addEventListener("close", ({ code, reason }) => this.complain(`closed: ${code} ${reason}`));
    }
    complain(what) {
      if (this.told.problems.length < 100) this.told.problems.push(what);
    }
    take(text) {
      const { channel, type, data } = written(text);
      if (channel !== this.channel) return;
      this.count(type, Number(data[0].sequence));
      for (const [name, side] of this.sides) {
        if (type === "snapshot") side.clear();
        for (const change of data[0][name]) this.apply(side, change);
      }
      const pairs = this.sides.flatMap(([, side]) => side.pairs(TOP));
      const digits = pairs.flat().map((number) => number.replace(".", "").replace(/^0*/, ""));
      this.told.checked += 1;
      if (String(crc32(digits.join(""))) !== data[0].checksum) this.complain(`checksum of ${this.told.number}`);
      if (this.book) this.ask(text);
    }
    count(type, number) {
      if (type === "update" && number !== this.told.number + 1)
        this.complain(`it goes from ${this.told.number} to ${number}`);
      this.told.number = number;
    }
    apply(side, { event, order_id: order = "", price, limit_price: limit = price, qty, order_qty: quantity = qty }) {
      const isGone = event === "delete" || Number(quantity) === 0;
      if (!isGone) side.queue(limit).set(order, [limit, quantity]);
      else if (!side.remove(limit, order)) this.complain(`what is not there goes: ${order} ${limit}`);
    }
    /** Does the console say the same? */
    ask(text) {
      const { type, data } = parse(text);
      this.told.console_checked += 1;
      if (!this.book.take(type, data[0])) this.complain(`the console finds ${this.told.number} wrong`);
    }
    levels() {
      return Object.fromEntries(this.sides.map(([name, side]) => [name, side.pairs()]));
    }
  }

  const readers = Object.fromEntries(Object.entries(subscriptions).map(([name, one]) => [name, new Reader(one)]));
  globalThis.islandReaders = {
    told: () => Object.fromEntries(Object.entries(readers).map(([name, { told }]) => [name, told])),
    levels: (name) => readers[name].levels(),
  };
}
