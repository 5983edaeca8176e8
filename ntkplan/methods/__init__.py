"""Ways to contract one leaf, with the work that each takes."""
