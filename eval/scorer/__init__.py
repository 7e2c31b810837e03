"""A model and what it says: log-probabilities of sentences, shared prefixes once, choices as exactly as they need."""
