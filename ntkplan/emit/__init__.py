"""From a choice to the source text of a kernel."""
