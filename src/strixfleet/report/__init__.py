"""Show results: on a terminal, as JSON, as an HTML page."""
