"""The embedded corpus, its minimal pairs, and rows in the form of official tasks, all of made-up sentences."""
