"""One self-contained page about a lineup, its charts, and README's tables."""
