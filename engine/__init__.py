"""The Trio engine that executes the charts, and the client that stands on it."""
