"""What is managed on a host."""
