"""Market data over WebSocket and REST, in the shape that users of Kraken's version 2 feed know.

checksums  the CRC32 of a book, by level and by order
channels   what the subscribers of one channel of one instrument are told
hub        connections, their requests and subscriptions
server     sockets around them
"""
