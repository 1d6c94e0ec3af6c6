"""What ``whet tune`` does with its trials, from the space that is searched to the processes that run them."""
