"""What primitives do, in labels and in counts."""
