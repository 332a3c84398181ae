"""Joins pipelines and streaming: threads, CUDA streams, buffers, sessions and configuration live here."""
