"""Whole clients on simulated machines and networks: everything about a run is drawn from one seed.

The client is the real one: engine, codec, validation and store, on a file that SQLite writes. What surrounds it is
simulated through the engine's seams: the clock, chance, threads, names and streams, and the disk below SQLite. So a
seed is a run: the same seed gives the same events in the same order, and a database with the same digest.

`plan` draws what is to happen, `world` lets it happen, `life` runs the client over its restarts, and `checks` says what
has to be true of every run, whatever happened in it.
"""
