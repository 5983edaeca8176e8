"""From `f(params, x)` to layers that are proven covered."""
