/* JSON whose numbers stay text, so that no digit of them is lost.

   A book's checksum is over the digits as they were sent, and 64-bit places and amounts do not fit a JavaScript number.
   So every number of the venue is text in this console, until somebody counts with it. */

const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

/** The value of a JSON text, with text in the place of each number. Throws SyntaxError. */
export function parse(text) {
  return JSON.parse(text.replace(TOKEN, (token) => (token.startsWith('"') ? token : `"${token}"`)));
}
