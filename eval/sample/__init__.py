"""What a model writes on from a prompt."""
