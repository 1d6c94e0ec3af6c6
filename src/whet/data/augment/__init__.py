"""Random changes of training rows: one file for each kind of rows."""
