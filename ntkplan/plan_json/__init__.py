"""Plans as JSON text, and back."""
