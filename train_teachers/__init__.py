"""Tokens to a language model: the second stage of the line. Imports only babylm_data."""
