"""The description of a model: formula, terms, families, priors. It knows no data."""
