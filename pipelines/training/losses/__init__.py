"""Losses, equations beside the code."""
