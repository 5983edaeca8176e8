"""Measuring what the cost model can only estimate, on the device that is present."""
