"""Words: sentences, terminal text, the page."""
