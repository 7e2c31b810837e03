"""Corpus to tokens: the first stage of the line. Imports nothing of the other stages."""
