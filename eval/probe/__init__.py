"""What a student has in common with its teachers, how it writes, and what it costs to run: measured, for the page."""
