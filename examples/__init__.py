"""Machines of one's own, a page each: attach them to a running venue, nothing else is needed.

sequencer attach examples.positions:Positions
sequencer attach examples.surveillance:Surveillance
"""
