"""Native order entry: ZeroMQ and msgpack, any number of clients a connection.

    OrderClient, OrderConnection --commands--> ROUTER --> Session --batches--> log
             (client)            <--reports---  (gateway)  (session)  <--entries-- log

`protocol` is what travels, `session` decides, `gateway` owns the sockets, `client` is the other end.
"""
