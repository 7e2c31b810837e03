"""From a finished run to the leaderboard."""
