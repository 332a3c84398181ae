"""Training stages, recipes and data preparation. Inference never imports this package."""
