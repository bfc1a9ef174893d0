"""What a machine must reach with a model."""
