/* What a state means to an eye: good, wary, bad. */

const TONES = {
  live: "good",
  well: "good",
  leader: "good",
  follower: "good",
  online: "good",
  slow: "wary",
  attaching: "wary",
  "catching-up": "wary",
  starting: "wary",
  candidate: "wary",
  learner: "wary",
  halted: "bad",
  stuck: "bad",
  diverged: "bad",
  dead: "bad",
  gone: "bad",
  suspect: "bad",
};

/** The tone of a state or verdict; none for words that are not known. */
export const toneOf = (state) => TONES[state] ?? "";

/** A word in the colour of what it means, as the cell of a table. */
export const stateColumn = (title, name) => ({
  title,
  text: (row) => row[name] ?? "",
  tone: (row) => `state ${toneOf(row[name])}`.trim(),
});
