/* Times as they are read: the venue's are ISO texts in UTC, shown in the reader's time zone. */

const two = (number) => String(number).padStart(2, "0");

/** "09:30:00" of an ISO time; with its milliseconds where they are wanted. */
export function clock(iso, { millis = false } = {}) {
  const at = new Date(iso);
  if (Number.isNaN(at.getTime())) return "";
  const seconds = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  return millis ? `${seconds}.${String(at.getMilliseconds()).padStart(3, "0")}` : seconds;
}

/** "27 Nov 09:30" of an ISO time. */
export function day(iso) {
  const at = new Date(iso);
  if (Number.isNaN(at.getTime())) return "";
  const month = at.toLocaleString("en", { month: "short" });
  return `${at.getDate()} ${month} ${two(at.getHours())}:${two(at.getMinutes())}`;
}

/** How long something took: "950 µs", "12.3 ms", "4.2 s". */
export function duration(us) {
  const count = Number(us);
  if (count === 0) return "0";
  if (count < 1000) return `${Math.round(count)} µs`;
  if (count < 1e6) return `${Number((count / 1000).toPrecision(3))} ms`;
  return `${Number((count / 1e6).toPrecision(3))} s`;
}
