"""Kernels as artifacts of `jax.export`, which run without the model and the plan."""
