/* CRC-32 as zlib has it (polynomial 0xEDB88320), of ASCII text. */

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let rest = byte;
  for (let bit = 0; bit < 8; bit += 1) rest = rest & 1 ? (rest >>> 1) ^ 0xedb88320 : rest >>> 1;
  return rest;
});

/** The unsigned checksum. */
export function crc32(text) {
  let rest = 0xffffffff;
  for (let at = 0; at < text.length; at += 1) rest = TABLE[(rest ^ text.charCodeAt(at)) & 255] ^ (rest >>> 8);
  return (rest ^ 0xffffffff) >>> 0;
}
