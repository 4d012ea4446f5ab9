"""What draws say: compared quantities, likelihood, leave-one-out, moments, provenance."""
