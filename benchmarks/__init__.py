"""Measurements: what they need is shared here, each is a module of its own."""
