"""Sum of logits in the place of leaves, where its error was found to be small."""
