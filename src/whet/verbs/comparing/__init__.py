"""What ``whet compare`` does with its candidates, from who takes part to the verdict."""
