"""What one equation computes, and what a list of them computes once fused."""
