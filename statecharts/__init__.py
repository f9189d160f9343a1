"""The charts, the law they keep, and the proof that they keep it. No I/O."""
