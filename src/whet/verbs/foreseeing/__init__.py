"""What a run will need: found out before it starts, by ``whet plan`` and by every run."""
