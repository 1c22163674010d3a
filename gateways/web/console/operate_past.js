/* What operators did of late. */

import { grouped } from "./decimals.js";
import { element } from "./elements.js";
import { panel } from "./panels.js";
import { address } from "./routes.js";
import { Table } from "./tables.js";
import { clock, day } from "./times.js";

export class PastActions {
  constructor() {
    this._table = new Table(
      "What operators did",
      [
        {
          title: "Time",
          text: (row) => `${day(row.timestamp).slice(0, -6)} ${clock(row.timestamp)}`,
          hint: (row) => row.timestamp,
        },
        { title: "Operator", text: (row) => row.operator },
        { title: "Action", text: (row) => row.action },
        { title: "Of what", text: (row) => fieldsText(row.fields), isWide: true },
        { title: "Reason", text: (row) => row.reason, isWide: true },
        {
          title: "Log",
          node: (row) => element("a", { href: address("log", row.log_sequence) }, grouped(row.log_sequence)),
          isNumber: true,
        },
      ],
      { key: (row) => row.log_sequence, empty: "Nothing of late.", stacks: "stacks" },
    );
    this.node = panel("What operators did", "past", this._table.node);
  }

  /** Rows of /v1/venue/actions. */
  show(rows) {
    this._table.show(rows);
  }
}

/** "type HaltInstrument, symbol BTC-USD": what has parts is written part by part, and what is empty not at all. */
function fieldsText(fields) {
  return Object.entries(fields ?? {})
    .filter(([, value]) => value !== null && value !== "")
    .map(([name, value]) => (typeof value === "object" ? fieldsText(value) : `${name.replaceAll("_", " ")} ${value}`))
    .join(", ");
}
