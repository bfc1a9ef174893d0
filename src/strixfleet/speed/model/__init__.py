"""What a GGUF file makes a machine do."""
