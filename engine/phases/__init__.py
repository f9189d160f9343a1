"""One activity for each phase of the sync chart."""
