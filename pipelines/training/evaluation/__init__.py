"""How good a model's pictures are: one metric a file, with what it measures, its range and which way is better."""
