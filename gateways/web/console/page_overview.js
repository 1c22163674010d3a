/* The venue at a glance, for operators: what is wrong, who does what, how fast, and what changed of late. */

import { grouped } from "./decimals.js";
import { element, say } from "./elements.js";
import { perFrame } from "./frames.js";
import { OPERATOR } from "./keyring.js";
import { LineChart } from "./line_chart.js";
import { panel } from "./panels.js";
import { Rates } from "./rates.js";
import { Table } from "./tables.js";
import { clock, duration } from "./times.js";
import { stateColumn } from "./tones.js";

export const title = "Overview";
export const needs = OPERATOR;
const PULSE_SECONDS = 300;
/** How often charts move while nothing comes. */
const LOOK_MS = 1000;

const number = (heading, name) => ({ title: heading, text: (row) => grouped(row[name] ?? ""), isNumber: true });
const word = (heading, name) => ({ title: heading, text: (row) => row[name] ?? "" });

/** Open the page. */
export function open(console) {
  return new Overview(console);
}

class Overview {
  constructor({ feed }) {
    this._feed = feed;
    this._venue = null;
    this._pulse = [];
    this._rates = new Rates();
    this._draw = perFrame(() => this._show());
    this._problems = element("ul", { class: "problems", "aria-live": "assertive" }, element("li", {}, "…"));
    this._tables = this._makeTables();
    this._charts = [throughputChart(), latencyChart()];
    this.node = this._layout();
    this._subscription = feed.subscribe("venue", {
      params: () => ({}),
      hear: (message) => this._take(message),
      slot: OPERATOR,
      refused: (error) => this._tell([`The venue does not tell how it is: ${error.message}`]),
    });
    this._timer = setInterval(() => feed.silentMs && this._venue && this._draw(), LOOK_MS);
  }

  close() {
    clearInterval(this._timer);
    this._subscription.end();
    this._draw = () => {};
  }

  _makeTables() {
    return {
      nodes: new Table(
        "Nodes",
        [
          word("Name", "name"),
          stateColumn("Role", "role"),
          stateColumn("State", "state"),
          number("Term", "term"),
          number("Position", "position"),
          number("Lag", "lag"),
          number("Durable", "durable_index"),
          number("Committed", "commit_index"),
          { title: "Messages/s", text: (row) => this._rates.text(row.name), isNumber: true },
        ],
        { key: (row) => row.name, stacks: "stacks" },
      ),
      replicas: new Table(
        "Replicas",
        [
          word("Name", "name"),
          word("Shard", "shard"),
          stateColumn("Verdict", "verdict"),
          number("Position", "position"),
          number("Lag", "lag"),
          { title: "Outputs / confirmed", text: outputs, isNumber: true, isLong: true },
          {
            title: "Digest so far",
            text: (row) => (row.digest ?? "").slice(0, 12),
            hint: (row) => row.digest ?? "",
            isLong: true,
          },
          { title: "Agrees", text: agreement, tone: (row) => (row.agrees === false ? "bad" : "good") },
          { title: "Why", text: why, hint: (row) => row.stack ?? row.error ?? "", isWide: true },
        ],
        { key: (row) => row.name, stacks: "stacks" },
      ),
      gateways: new Table(
        "Gateways",
        [
          word("Name", "name"),
          word("Role", "role"),
          stateColumn("State", "state"),
          number("Position", "position"),
          number("Lag", "lag"),
          number("Connections", "connections"),
        ],
        { key: (row) => row.name, stacks: "stacks" },
      ),
      news: new Table(
        "What changed",
        [
          { title: "Time", text: (row) => clock(row.timestamp), hint: (row) => row.timestamp },
          { title: "What", text: (row) => row.what, isWide: true },
        ],
        { key: (row) => `${row.timestamp} ${row.what}`, empty: "Nothing changed of late." },
      ),
    };
  }

  _layout() {
    const { nodes, replicas, gateways, news } = this._tables;
    news.node.classList.add("news");
    news.node.tabIndex = 0; // it scrolls, so a keyboard has to reach it
    return element(
      "div",
      { class: "overview" },
      panel("How it is", "problems-panel", this._problems),
      panel("Throughput, each second", "throughput", this._charts[0].node),
      panel("Latency, command to result", "latency", this._charts[1].node),
      panel("Nodes", "nodes", nodes.node),
      panel("Replicas", "replicas", replicas.node),
      panel("Gateways", "gateways", gateways.node),
      panel("What changed", "changes", news.node),
    );
  }

  _take({ type, data }) {
    const before = type === "snapshot" ? [] : this._pulse;
    const known = new Map(before.map((one) => [one.timestamp, one]));
    for (const one of data.pulse) known.set(one.timestamp, one);
    this._pulse = [...known.values()]
      .sort((one, other) => (one.timestamp < other.timestamp ? -1 : 1))
      .slice(-PULSE_SECONDS);
    this._venue = data;
    for (const { name, position } of data.nodes) this._rates.take(name, Number(position), Date.parse(data.timestamp));
    this._draw();
  }

  _show() {
    const { problems, nodes, replicas, gateways, news } = this._venue;
    this._tell(problems);
    this._tables.nodes.show(nodes);
    this._tables.replicas.show(replicas);
    this._tables.gateways.show(gateways);
    this._tables.news.show(distinct(news));
    for (const chart of this._charts) chart.show(this._pulse, this._feed.silentMs);
  }

  /** Left alone where nothing changed: what is read aloud is read once. */
  _tell(problems) {
    const texts = problems.length ? problems : ["Well: every process lives, and all agree."];
    const shown = [...this._problems.children];
    if (shown.length !== texts.length) this._problems.replaceChildren(...texts.map((text) => element("li", {}, text)));
    else texts.forEach((text, at) => say(shown[at], text));
    this._problems.dataset.tone = problems.length ? "bad" : "good";
  }
}

const counted = (name) => (row) => (row[name] === undefined || row[name] === null ? null : Number(row[name]));
/** A second without commands has no latency. */
const measured = (name) => (row) => Number(row[name] ?? 0) || null;

const throughputChart = () =>
  new LineChart(
    "Throughput",
    [
      { name: "messages", tone: "one", value: counted("messages") },
      { name: "commands", tone: "two", value: counted("commands") },
      { name: "trades", tone: "three", value: counted("trades") },
    ],
    { format: (value) => grouped(Math.round(value)), least: 10 },
  );

const latencyChart = () =>
  new LineChart(
    "Latency",
    [
      { name: "p50", tone: "one", value: measured("p50_us") },
      { name: "p99", tone: "two", value: measured("p99_us") },
    ],
    { format: duration, least: 1000 },
  );

const outputs = ({ outputs: made, confirmed }) =>
  made === undefined ? "" : `${grouped(made)} / ${grouped(confirmed)}`;
const agreement = ({ agrees }) => ({ true: "yes", false: "no" })[String(agrees)] ?? "";
const why = (row) => [row.why, row.error].filter(Boolean).join("; ");

/** Two changes of one moment can read the same: a table needs them apart, and a reader does not. */
function distinct(news) {
  return [...new Map(news.map((one) => [`${one.timestamp} ${one.what}`, one])).values()];
}
