"""Loading a model, seeing its parts, freezing some of them."""
