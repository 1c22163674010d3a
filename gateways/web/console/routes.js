/* Where one is: `#/market/BTC-USD` is the page "market" with the rest ["BTC-USD"]. */

/** The address of a page. */
export const address = (page, ...rest) => `#/${[page, ...rest].map((part) => encodeURIComponent(part)).join("/")}`;

/** [page, ...rest] of an address; [] where it names no page. */
export function read(hash) {
  if (!hash.startsWith("#/")) return [];
  try {
    return hash.slice(2).split("/").filter(Boolean).map(decodeURIComponent);
  } catch {
    return []; // a broken escape names nothing
  }
}
