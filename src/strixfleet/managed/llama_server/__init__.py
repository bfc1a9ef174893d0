"""The llama-server units."""
