"""Public functions that several equations are, one family per file."""
