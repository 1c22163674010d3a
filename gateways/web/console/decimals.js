/* Exact arithmetic with decimals that are text: a number of the smallest unit, as a BigInt, and back. */

/** "1.50" with 2 places is 150n. Digits behind the places are cut off. */
export function units(text, places) {
  const [whole, fraction = ""] = text.replace("-", "").split(".");
  const count = BigInt(whole + fraction.slice(0, places).padEnd(places, "0"));
  return text.startsWith("-") ? -count : count;
}

/** The same back: 150n with 2 places is "1.50". */
export function decimal(count, places) {
  const digits = String(count < 0n ? -count : count).padStart(places + 1, "0");
  const whole = digits.slice(0, digits.length - places);
  const sign = count < 0n ? "-" : "";
  return places ? `${sign}${whole}.${digits.slice(-places)}` : sign + whole;
}

/** How many digits a decimal has behind its point. */
export const placesOf = (text) => (text.split(".")[1] ?? "").length;

/** Order of two decimals that are not negative and have the same number of places. */
export function compare(one, other) {
  if (one.length !== other.length) return one.length - other.length;
  return one < other ? -1 : Number(one > other);
}

/** Whether a text is a decimal above zero, as orders have it. */
export const isPositive = (text) => /^\d+(\.\d+)?$/.test(text) && /[1-9]/.test(text);

/** Thousands apart: "1234567.50" is "1,234,567.50". What is no number stays as it is. */
export function grouped(value) {
  const text = String(value ?? "");
  if (!/^-?\d+(\.\d+)?$/.test(text)) return text;
  const [whole, fraction] = text.split(".");
  const apart = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  return fraction === undefined ? apart : `${apart}.${fraction}`;
}

/** Without the zeros at the end: "1.50000000" is "1.5". */
export const short = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
