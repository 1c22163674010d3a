"""Market data: books and trades, built from the stream and sent to whoever subscribes.

    log --> Books --+--> updates, by topic --> PUB    --(lossy)--> MarketDataClient
                    +--> snapshots         <-- ROUTER <--------->

Subscribing, asking and falling behind never touch an engine. Nothing here says who a client is.

protocol  what travels; every field and every numbering rule
books     the read model that makes updates and snapshots (pure)
fold      the read model of a whole log
queries   requests and their answers (pure)
gateway   the sockets
views     what a reader keeps: a book or a tape (pure)
follower  how a reader joins snapshots and updates, and finds gaps (pure)
client    the sockets of a reader
"""
