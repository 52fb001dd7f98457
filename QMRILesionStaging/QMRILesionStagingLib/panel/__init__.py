"""Parts of the panel that need Qt. Nothing is computed here, and nothing is imported before a panel is opened."""
