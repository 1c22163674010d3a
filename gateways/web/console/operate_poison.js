/* Messages at which replicas are stopped: skipped by an answer in the log that all obey at the same place. */

import { grouped } from "./decimals.js";
import { element } from "./elements.js";
import { panel } from "./panels.js";
import { address } from "./routes.js";
import { Table } from "./tables.js";
import { stateColumn } from "./tones.js";

export class PoisonActions {
  constructor(actions) {
    this._actions = actions;
    this._table = new Table(
      "Poison",
      [
        {
          title: "Sequence",
          node: (row) => element("a", { href: address("log", row.sequence) }, grouped(row.sequence)),
          isNumber: true,
        },
        { title: "Machine", text: (row) => `${row.machine} ${row.shard}` },
        { title: "Command", text: (row) => row.command ?? "" },
        stateColumn("Verdict", "verdict"),
        { title: "Replicas", text: (row) => [row.replicas].flat().join(", ") },
        { title: "Why", text: (row) => [row.message, row.why].filter(Boolean).join("; "), isWide: true },
        { title: "Do", node: (_row, now) => element("button", { onclick: () => this._skip(now()) }, "Skip") },
      ],
      {
        key: (row) => `${row.machine} ${row.shard} ${row.sequence}`,
        empty: "None: no replica is stopped at a message.",
        stacks: "stacks",
      },
    );
    this.node = panel("Poison messages", "poison", this._table.node);
  }

  /** Rows of /v1/venue/poison. */
  show(rows) {
    this._table.show(rows);
  }

  _skip({ sequence, machine, shard }) {
    this._actions.confirm({
      title: `Skip message ${grouped(sequence)} at ${machine}`,
      isHarsh: true,
      verb: "Skip, for ever",
      text: "It is answered with a refusal at one place of the log, in every replay too. It cannot be taken back.",
      path: "skip",
      body: () => ({ sequence: Number(sequence), machine, shard: shard ?? "" }),
    });
  }
}
