"""Tokens and frozen teachers to a student: the third stage of the line. Imports babylm_data and train_teachers."""
