"""From candidates to a choice, and the choice in words."""
