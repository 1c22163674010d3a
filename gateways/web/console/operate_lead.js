/* Who leads, and snapshots of the machines. */

import { grouped } from "./decimals.js";
import { element } from "./elements.js";
import { field, panel } from "./panels.js";
import { Table } from "./tables.js";
import { stateColumn } from "./tones.js";

export class LeadActions {
  constructor(actions) {
    this._actions = actions;
    this._table = new Table(
      "Nodes",
      [
        { title: "Name", text: (row) => row.name },
        stateColumn("Role", "role"),
        stateColumn("State", "state"),
        { title: "Lag", text: (row) => grouped(row.lag), isNumber: true },
        {
          title: "Do",
          node: (_row, now) => this._button(now),
          update: (cell, row) => {
            cell.firstChild.disabled = row.role === "leader";
          },
        },
      ],
      { key: (row) => row.name, stacks: "stacks" },
    );
    this.node = panel("Lead and snapshots", "lead", element("div", {}, this._table.node, this._snapshotForm()));
  }

  /** Rows of nodes. */
  show(nodes) {
    this._table.show(nodes);
  }

  _button(now) {
    return element(
      "button",
      { "aria-label": `Make ${now().name} the leader`, onclick: () => this._transfer(now().name) },
      "Make leader",
    );
  }

  _transfer(node) {
    this._actions.confirm({
      title: `Transfer the lead to ${node}`,
      text: "It takes a round of messages; nothing is lost, and nobody has to connect again.",
      verb: "Transfer",
      path: "transfer-leader",
      body: () => ({ node }),
    });
  }

  _snapshotForm() {
    const machine = element("input", { name: "machine", placeholder: "all machines", autocomplete: "off" });
    return element(
      "form",
      { class: "head line", onsubmit: (event) => this._snapshot(event, machine.value.trim()) },
      field("Machine", machine),
      element("button", {}, "Take a snapshot"),
    );
  }

  _snapshot(event, machine) {
    event.preventDefault();
    this._actions.confirm({
      title: `Take a snapshot of ${machine || "all machines"}`,
      text: "Nothing stands still meanwhile.",
      verb: "Take it",
      path: "snapshot",
      body: () => ({ machine }),
    });
  }
}
