"""Kills at random instants of every stage of the line."""
