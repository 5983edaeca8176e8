"""Frozen records of graphs, uses, kernels, plans and programs."""
