"""The functions of neural_tangents that users bring along, on ntkplan's plans."""
