"""How each primitive moves the axis of the examples, by family of primitives."""
