"""The model files."""
