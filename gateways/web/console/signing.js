/* The signature of a request, in the way of Kraken's REST interface, made by the browser's own cryptography.

   base64(HMAC-SHA512(secret, METHOD + path with query + SHA256(nonce + body))) */

const encoder = new TextEncoder();
let lastNonce = 0;

/** The headers that prove whose a request is. Throws Error where the browser or the secret does not allow it. */
export async function signed(key, secret, method, path, body = "") {
  if (!globalThis.crypto?.subtle) {
    throw new Error("This browser signs only on pages from https:// or from this machine (localhost, 127.0.0.1).");
  }
  const nonce = nextNonce();
  const digest = await crypto.subtle.digest("SHA-256", encoder.encode(nonce + body));
  const request = joined(encoder.encode(method + path), new Uint8Array(digest));
  const hmac = { name: "HMAC", hash: "SHA-512" };
  const signer = await crypto.subtle.importKey("raw", bytes(secret), hmac, false, ["sign"]);
  const signature = await crypto.subtle.sign("HMAC", signer, request);
  return { "API-Key": key, "API-Nonce": nonce, "API-Sign": base64(signature) };
}

/** The time in microseconds, and never the same twice. */
function nextNonce() {
  const now = Math.floor((performance.timeOrigin + performance.now()) * 1000);
  lastNonce = Math.max(lastNonce + 1, now);
  return String(lastNonce);
}

function joined(one, other) {
  const made = new Uint8Array(one.length + other.length);
  made.set(one);
  made.set(other, one.length);
  return made;
}

function bytes(text) {
  try {
    return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  } catch {
    throw new Error(
      "The secret is not complete: it is 88 characters of base64, as `sequencer api-key issue` prints it.",
    );
  }
}

const base64 = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer)));
