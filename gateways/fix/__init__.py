"""FIX 4.4 order entry and market data.

codec      bytes <--> messages: framing, lengths, checksums
dictionary what each message holds: fields, types, values, groups
session    one session's protocol: numbers, resends, heartbeats, logon and logout
store      a session's numbers on disk, and where in the log each report that was sent stands
translate  FIX messages <--> the venue's commands and events
market     subscriptions to books and trades
door       connections and sessions, each knowing the other
requests   what a counterparty asks for once it is logged on
doors      all sessions and the order session behind them: what is taken, sent and stored
server     sockets around them
"""
