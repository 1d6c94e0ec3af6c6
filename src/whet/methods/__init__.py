"""Ways to fine-tune: one file each, named as in a recipe."""
