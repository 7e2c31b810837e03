"""Ages of acquisition, from the surprisals of several checkpoints."""
