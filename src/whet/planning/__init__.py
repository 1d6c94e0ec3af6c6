"""What a run will need and which method suits it, before anything is trained."""
