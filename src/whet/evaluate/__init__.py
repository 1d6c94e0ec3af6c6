"""Scores and the baselines beside which they mean something."""
