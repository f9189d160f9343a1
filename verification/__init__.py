"""Verification as a product: what can be proven about the charts, the engine and the whole client, by anybody."""
