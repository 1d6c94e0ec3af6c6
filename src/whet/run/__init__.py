"""The run folder: what a run leaves behind, written and read here only."""
