"""Engines: what runs the Beam code of nodes, and the arguments by which Beam finds it."""
