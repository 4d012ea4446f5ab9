"""What a model says: formula, terms, families, priors. Knows no data."""
