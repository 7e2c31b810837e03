"""A run folder and what belongs to it: origins, lineup, revisions, ledger, and what was evaluated."""
