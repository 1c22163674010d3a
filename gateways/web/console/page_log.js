/* The log, one message at a time, for operators: what it is, what it came from, and what followed. */

import { grouped } from "./decimals.js";
import { element } from "./elements.js";
import { OPERATOR } from "./keyring.js";
import { outcomeLine, panel } from "./panels.js";
import { address } from "./routes.js";
import { Table } from "./tables.js";
import { clock, duration } from "./times.js";

export const title = "Log";
export const needs = OPERATOR;
const link = (sequence) => element("a", { href: address("log", sequence) }, grouped(sequence));

/** Open the page; `rest` is [sequence]. */
export function open(console, [sequence]) {
  return new Log(console, sequence);
}

class Log {
  constructor({ rest }, sequence) {
    this._rest = rest;
    this._outcome = outcomeLine();
    this._found = element("div", { class: "found" });
    this._number = element("input", {
      inputmode: "numeric",
      pattern: "\\d+",
      required: true,
      value: sequence ?? "",
      title: "A sequence number",
    });
    this._steps = element("span", { class: "buttons" });
    const form = element(
      "form",
      { class: "head", onsubmit: (event) => this._sent(event) },
      element("label", { class: "beside" }, "Sequence number ", this._number),
      element("button", { class: "main" }, "Show"),
      this._steps,
    );
    this.node = element(
      "div",
      { class: "log" },
      panel("Log", "", element("div", {}, form, this._outcome.node)),
      this._found,
    );
    if (sequence) this._look(sequence);
    else this._suggest();
  }

  close() {}

  _sent(event) {
    event.preventDefault();
    location.hash = address("log", this._number.value.trim());
  }

  async _suggest() {
    this._number.focus();
    const venue = await this._rest.get("/v1/venue", OPERATOR).catch(() => null);
    if (venue) this._outcome.node.replaceChildren("The log is at ", link(venue.log_sequence), ".");
  }

  async _look(sequence) {
    this._outcome.say("Reading …");
    try {
      this._show(await this._rest.get(`/v1/venue/log/${encodeURIComponent(sequence)}`, OPERATOR));
      this._outcome.say("");
    } catch (error) {
      this._outcome.say(error.message, "bad");
    }
  }

  _show({ message, previous, next, causes, effects, is_whole: isWhole }) {
    const step = (to, text, rel) =>
      to ? element("a", { class: "button", href: address("log", to), rel }, text) : null;
    this._steps.replaceChildren(
      ...[step(previous, "← Previous", "prev"), step(next, "Next →", "next")].filter(Boolean),
    );
    const tables = [causesTable(causes), effectsTable(effects)];
    this._found.replaceChildren(
      panel(`${grouped(message.sequence)} ${message.type}`, "message", description(message)),
      panel("What it came from", "causes", tables[0].node),
      panel("What followed", "effects", tables[1].node),
      ...(isWhole === false
        ? [
            element(
              "p",
              { class: "complaint" },
              "What followed was looked for in the next entries of the log only: there may be more, later.",
            ),
          ]
        : []),
    );
  }
}

function description(message) {
  const head = { Time: message.timestamp, Sender: message.sender, Channel: message.channel };
  const pairs = [...Object.entries(head), ...Object.entries(message.fields)];
  const cause = message.cause && message.cause !== "0" ? [["Cause", link(message.cause)]] : [];
  return element(
    "dl",
    { class: "fields" },
    [...cause, ...pairs].map(([name, value]) =>
      element(
        "div",
        {},
        element("dt", {}, name.replaceAll("_", " ")),
        element("dd", {}, value instanceof Node ? value : written(value)),
      ),
    ),
  );
}

/** A value in a line: what has parts is written as JSON. */
function written(value) {
  if (value === null || value === undefined || value === "") return "–";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

const summary = (fields) =>
  Object.entries(fields)
    .map(([name, value]) => `${name.replaceAll("_", " ")} ${written(value)}`)
    .join(", ");

function causesTable(causes) {
  const table = new Table(
    "What it came from",
    [
      { title: "Sequence", node: (row) => link(row.sequence), isNumber: true },
      { title: "Type", text: (row) => row.type, isWide: true },
    ],
    { key: (row) => row.sequence, empty: "It came from outside." },
  );
  table.show(causes);
  return table;
}

function effectsTable(effects) {
  const table = new Table(
    "What followed",
    [
      { title: "Sequence", node: (row) => link(row.sequence), isNumber: true },
      { title: "Type", text: (row) => row.type },
      {
        title: "After",
        text: (row) => duration(row.after_us ?? 0),
        hint: (row) => clock(row.timestamp, { millis: true }),
        isNumber: true,
      },
      { title: "Sender", text: (row) => row.sender },
      { title: "Cause", node: (row) => (row.cause === "0" ? "–" : link(row.cause)), isNumber: true },
      { title: "What it says", text: (row) => summary(row.fields), isWide: true },
    ],
    { key: (row) => row.sequence, empty: "Nothing.", stacks: "stacks" },
  );
  table.show(effects);
  return table;
}
