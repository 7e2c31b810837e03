"""A study's cells against their controls: scored, compared over seeds and items, as one table."""
