"""The submission file: what the rules ask for, and whether a file is that."""
