/* A question before something is done: what it is, what else has to be known, and what came of it.

   The dialog stays until it is closed: it shows the outcome, or why there is none, in the venue's words. */

import { element } from "./elements.js";
import { field, outcomeLine } from "./panels.js";

/** `fields`: [{name, label, value, ...attributes of the input}]; `act(values)` promises words on what was done. */
export function ask({ title, text, verb, fields, act, isHarsh = false }) {
  const inputs = fields.map(({ name, label, hint, ...attributes }) => ({
    name,
    label,
    hint,
    input: element("input", { name, autocomplete: "off", ...attributes }),
  }));
  const outcome = outcomeLine();
  const confirm = element("button", { type: "submit", class: isHarsh ? "harsh" : "main" }, verb);
  const close = element("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
  const form = element(
    "form",
    { method: "dialog" },
    element("h2", {}, title),
    text && element("p", {}, text),
    inputs.map(({ label, hint, input }) => field(label, input, hint)),
    outcome.node,
    element("div", { class: "buttons" }, close, confirm),
  );
  const dialog = element("dialog", { "aria-label": title, onclose: () => dialog.remove() }, form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    confirm.disabled = true;
    outcome.say("Asking the venue …");
    try {
      outcome.say(await act(Object.fromEntries(inputs.map(({ name, input }) => [name, input.value.trim()]))), "good");
      confirm.hidden = true;
      close.textContent = "Close";
      close.focus();
    } catch (error) {
      outcome.say(error.message, "bad");
      confirm.disabled = false;
    }
  });
  document.body.append(dialog);
  dialog.showModal();
}
