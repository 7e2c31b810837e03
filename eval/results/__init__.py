"""Finished results: scores.json, the official program's tree, the table in a terminal, and who carries a call out."""
