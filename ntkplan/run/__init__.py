"""Runs what outgrows one call: kernels in tiles."""
