"""Measures the device that JAX runs on and makes its profile."""
