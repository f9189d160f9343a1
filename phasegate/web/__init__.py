"""The live view of a running client: one page, its events, metrics and health, served beside the sync."""
