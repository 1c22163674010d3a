/* Messages at which replicas are stopped: skipped by an answer in the log that all obey at the same place.

   What is skipped is a command: where replicas stop at a decision of credit, one of the orders that it is about. The venue tells
   which it was, unless they are stuck in it; and which others have to be skipped with it, if one alone does not help. */

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
        { title: "Command", text: (row) => (isKnown(row.command) ? grouped(row.command) : "") },
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

  _skip({ sequence, command, machine, shard }) {
    const message = isKnown(command) ? command : sequence;
    this._actions.confirm({
      title: `Skip a message at ${machine}`,
      isHarsh: true,
      verb: "Skip, for ever",
      text: "It is answered with a refusal at one place of the log, in every replay too. It cannot be taken back.",
      fields: [
        {
          name: "sequences",
          label: "Message",
          value: isKnown(message) ? message : "",
          required: true,
          inputmode: "numeric",
          pattern: "\\d+( +\\d+)*",
          hint: "Its sequence number; several with spaces between.",
        },
      ],
      path: "skip",
      body: ({ sequences }) => ({ sequence: sequences.split(/ +/).map(Number), machine, shard: shard ?? "" }),
    });
  }
}

const isKnown = (sequence) => Number(sequence ?? 0) > 0;
