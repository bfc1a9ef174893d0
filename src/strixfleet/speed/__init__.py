"""What a model must reach, and what a host reaches."""
