"""From files to rows: reading, columns, splits, batches."""
