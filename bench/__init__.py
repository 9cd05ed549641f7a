"""Measures models on tasks and compares them."""
