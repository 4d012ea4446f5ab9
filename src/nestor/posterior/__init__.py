"""Quantities computed from draws: log-likelihood, leave-one-out, moments, summaries, provenance."""
