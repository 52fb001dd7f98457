"""Self-contained HTML pages with pictures of the maps."""
