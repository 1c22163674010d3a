"""The sequencer: a replicated process that puts opaque batches into one total order.

    sender --batch--> node --entry--> journal --committed--> PUB --> every subscriber
                        |                                    ^
                        +--- raft with the other nodes       +-- replayer fills gaps

It knows nothing of what it orders. Outsiders use `client`, `envelope`, `config` and `errors`.
"""

__version__ = "0.1.0"
