"""What ``whet advise`` tries on a model before it speaks."""
