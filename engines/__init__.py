"""The venue's machines: each reads the one stream and is a function of it.

    commands --> credit --decisions--> matching --results--> gateways, market data, and credit again

`messages` is the language, `machine` the protocol, `host` the process that binds a machine to the
stream; `matching` and `credit` are machines, and know neither each other nor the sequencer.
"""
