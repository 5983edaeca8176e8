"""The main job on real input: digits classified by a network's tangent kernel."""
