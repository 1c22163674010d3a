/* From values to places on a drawing, and the round values at which an axis is marked. */

/** A function from [from, to] to [begin, end], linearly. */
export function linear([from, to], [begin, end]) {
  const ratio = to === from ? 0 : (end - begin) / (to - from);
  return (value) => begin + (value - from) * ratio;
}

/** Some round values between two, at most about `count`. */
export function marks(low, high, count) {
  if (!(high > low)) return [low];
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((one) => one * power >= rough) * power;
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, at) => (first + at) * step);
}

/** "12.5k" of 12500: for axes. */
export function brief(value) {
  for (const [size, letter] of [
    [1e9, "G"],
    [1e6, "M"],
    [1e3, "k"],
  ]) {
    if (Math.abs(value) >= size) return `${Number((value / size).toPrecision(3))}${letter}`;
  }
  return String(Number(value.toPrecision(3)));
}
