/* Candles with their volume, the latest on the right, as many as there is room for. */

import { shape } from "./elements.js";
import { grouped } from "./decimals.js";
import { Plot, ruler } from "./plot.js";
import { linear, marks } from "./scales.js";
import { clock, day } from "./times.js";

const RIGHT = 72;
const BOTTOM = 20;
const TOP = 8;
const PITCH = 9;
const VOLUME_SHARE = 0.18;
const DAY_MINUTES = 240;

export class CandleChart {
  constructor() {
    this._candles = [];
    this._plot = new Plot("Candles", (plot) => this._paint(plot));
    this.node = this._plot.node;
  }

  /** Candles, the oldest first; `interval` in minutes, `places` of a price. */
  show(candles, interval, places) {
    Object.assign(this, { _candles: candles, _interval: interval, _places: places });
    const last = candles.at(-1);
    this._plot.describe(
      last
        ? `Candles of ${interval} minutes, the latest ${last.open} to ${last.close}, in ${last.low} to ${last.high}`
        : "No candles yet",
    );
    this._plot.redraw();
  }

  _paint({ width, height }) {
    const shown = this._candles.slice(-Math.max(1, Math.floor((width - RIGHT) / PITCH)));
    if (!shown.length)
      return [shape("text", { class: "mark", x: width / 2, y: height / 2, "text-anchor": "middle" }, "No trades yet.")];
    const floor = height - BOTTOM;
    const y = linear(padded(shown), [floor - (floor - TOP) * VOLUME_SHARE - 6, TOP]);
    const volume = linear([0, Math.max(...shown.map((one) => Number(one.volume)))], [0, (floor - TOP) * VOLUME_SHARE]);
    const x = (at) => width - RIGHT - (shown.length - at - 0.5) * PITCH;
    return [
      this._rulers(shown, y, width),
      shown.map((one, at) => candle(one, x(at), y, floor, volume(Number(one.volume)))),
      this._times(shown, x, height),
      this._last(shown.at(-1), y, width),
    ];
  }

  _rulers(shown, y, width) {
    const last = y(Number(shown.at(-1).close));
    const isFree = (value) => Math.abs(y(value) - last) > 18; // the last price has its own mark
    return marks(...padded(shown), 5)
      .filter(isFree)
      .map((value) =>
        ruler(y(value), grouped(value.toFixed(this._places)), {
          from: 0,
          to: width - RIGHT,
          x: width - RIGHT + 6,
          anchor: "start",
        }),
      );
  }

  _times(shown, x, height) {
    const every = Math.max(1, Math.ceil(96 / PITCH));
    return shown.map((one, at) => {
      const isMarked = (shown.length - 1 - at) % every === Math.floor(every / 2) && x(at) > 30;
      const text =
        this._interval >= DAY_MINUTES ? day(one.interval_begin).slice(0, -6) : clock(one.interval_begin).slice(0, 5);
      return isMarked ? [shape("text", { class: "mark", x: x(at), y: height - 5, "text-anchor": "middle" }, text)] : [];
    });
  }

  _last(last, y, width) {
    const at = y(Number(last.close));
    return [
      shape("line", { class: "last", x1: 0, x2: width - RIGHT, y1: at, y2: at }),
      shape("rect", { class: "last-box", x: width - RIGHT + 1, y: at - 9, width: RIGHT - 2, height: 18, rx: 3 }),
      shape("text", { class: "last-text", x: width - RIGHT + 6, y: at + 3.5 }, grouped(last.close)),
    ];
  }
}

function candle(one, x, y, floor, volume) {
  const [open, high, low, close] = [one.open, one.high, one.low, one.close].map(Number);
  const tone = close < open ? "sell" : "buy";
  const top = y(Math.max(open, close));
  const body = Math.max(1, y(Math.min(open, close)) - top);
  return [
    shape("rect", { class: `volume volume-${tone}`, x: x - 3, y: floor - volume, width: 6, height: volume }),
    shape("line", { class: `wick wick-${tone}`, x1: x, x2: x, y1: y(high), y2: y(low) }),
    shape("rect", { class: `body body-${tone}`, x: x - 3, y: top, width: 6, height: body }),
  ];
}

function padded(candles) {
  const low = Math.min(...candles.map((one) => Number(one.low)));
  const high = Math.max(...candles.map((one) => Number(one.high)));
  const room = (high - low || high * 0.001) * 0.06;
  return [low - room, high + room];
}
