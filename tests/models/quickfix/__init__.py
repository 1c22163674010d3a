"""The QuickFIX engine as the other side of FIX sessions: what it sends and takes is not this project's idea of FIX."""
