"""Market data, trading and operating over WebSocket and REST, in the shape that users of Kraken's version 2 feed know.

server, routes, operator_routes, strangers   sockets and HTTP around
  gateway                                    what comes in and goes out: pure
    hub, channels, checksums, candles        public channels, made once for all
    private, keys                            what needs a key, and who has one
      trading, requests, executions          clients' orders, before an order session
      copies, past, timers                   drop copy, old reports, cancel-after
      overview, pulse, actions               what operators see and do
  description                                all of it for programs
console/                                     the pages, which are made of this
"""
