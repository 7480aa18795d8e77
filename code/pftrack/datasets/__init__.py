"""Info files -> frames -> clips -> batches."""
