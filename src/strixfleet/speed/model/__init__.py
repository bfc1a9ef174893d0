"""Read a GGUF header, and work out what the model needs of a machine."""
