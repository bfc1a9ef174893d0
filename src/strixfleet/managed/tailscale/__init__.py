"""The tailnet membership."""
