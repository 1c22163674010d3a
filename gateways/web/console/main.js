/* The console: a page made of the venue's documented API, and of nothing else.

   Keyring --who--> Rest, Feed --messages--> Instruments, Trading --"change"--> pages
                      ^------------what is asked for--------------------------+

   It is opened from anywhere as it stands: no build, no framework, nothing from elsewhere. */

import { Feed } from "./feed.js";
import { Instruments } from "./instruments.js";
import { CLIENT, Keyring } from "./keyring.js";
import * as clients from "./page_clients.js";
import * as keys from "./page_keys.js";
import * as log from "./page_log.js";
import * as market from "./page_market.js";
import * as operate from "./page_operate.js";
import * as overview from "./page_overview.js";
import { Rest } from "./rest.js";
import { Shell } from "./shell.js";
import { Trading } from "./trading.js";

const PAGES = { market, overview, clients, log, operate, keys };

function start() {
  const keyring = new Keyring(sessionStorage);
  const rest = new Rest(keyring, location.origin);
  const feed = new Feed(`${location.origin.replace(/^http/, "ws")}/v2`, (slot) =>
    rest.token(keyring.held(slot)).then(({ token }) => token),
  );
  const trading = new Trading(feed, rest);
  const instruments = new Instruments(feed);
  follow(keyring, feed, trading);
  new Shell(document.body, { keyring, rest, feed, trading, instruments }, PAGES);
  feed.open();
}

/** Trading follows who is signed in; a key that the venue accepts no longer is signed out. */
function follow(keyring, feed, trading) {
  if (keyring.has(CLIENT)) trading.begin();
  keyring.addEventListener("change", ({ detail: slot }) => {
    feed.forgetToken(slot);
    if (slot !== CLIENT) return;
    trading.end();
    if (keyring.has(CLIENT)) trading.begin();
  });
  feed.addEventListener("denied", ({ detail: { slot, error } }) => error.status === 401 && keyring.forget(slot));
}

start();
