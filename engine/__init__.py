"""Runs models: features, probes, fine-tuning."""
