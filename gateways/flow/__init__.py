"""Flow files: commands as JSON Lines, where they come from and how they are sent.

    bitstamp (real) --+
    generate (seeded) +--> lines of text --lines.parse--> Line --send--> order gateway
    a user's own file +

`lines` is the only reader and writer of the format.
"""
