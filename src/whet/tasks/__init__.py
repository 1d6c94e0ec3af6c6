"""Kinds of problems: one file each, named as in a recipe."""
