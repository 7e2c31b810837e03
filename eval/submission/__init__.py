"""From a finished run to the leaderboard: evaluate, collate, bundle, check, push, standing."""
