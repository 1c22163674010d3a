/* What an operator does: each action has a reason, is confirmed, and says what came of it. */

import { ask } from "./dialogs.js";
import { OPERATOR } from "./keyring.js";

const REASON = {
  name: "reason",
  label: "Reason",
  required: true,
  maxlength: 200,
  hint: "Kept in the log, with your name.",
};

export class Actions {
  /** `done()` is called after each action that was obeyed. */
  constructor(rest, done = () => {}) {
    this._rest = rest;
    this._done = done;
  }

  /** Ask, then POST to /v1/venue/`path` what `body(values)` makes of the values of the fields, with the reason. */
  confirm({ path, body, fields = [], ...question }) {
    ask({
      ...question,
      fields: [...fields, REASON],
      act: async ({ reason, ...values }) => {
        const answer = await this._rest.post(`/v1/venue/${path}`, { ...body(values), reason }, OPERATOR);
        this._done();
        return answer.done ? `Done: ${answer.done}.` : "Done.";
      },
    });
  }

  /** The same for a command, which is a line of a flow. */
  command({ command, ...question }) {
    this.confirm({ ...question, path: "command", body: (values) => ({ command: command(values) }) });
  }
}
