"""Pure rules of the Dash chain: bytes in, verdicts out. No I/O, no clock, no state."""
