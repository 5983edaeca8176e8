"""Printers of primitives, one file per family; `table` assembles them."""
