"""Which differences between scored models are real."""
