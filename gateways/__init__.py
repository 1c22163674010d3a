"""The doors of the venue: order entry, market data, FIX, WebSocket, and the flow that goes through them.

    clients --commands--> order/ ----> log --> credit, matching
    clients <--reports--- order/ <---- log <-- credit, matching
    counterparties <--FIX--> fix/ (before an order session of its own)
    readers <--books----- marketdata/, web/ <-- log

A gateway keeps read models that it folds from the stream (names: who and what ids stand for; orders: what
happened to them) and never asks an engine anything. Each is a pure part and a thin shell of sockets.
"""
