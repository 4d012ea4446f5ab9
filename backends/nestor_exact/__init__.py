"""Independent draws from posteriors of few scales: importance sampling of the scales, exact coefficients.

No backend of its own, and no model code: a backend hands over the marginal density of the scales and the
draws of the coefficients given them (`nestor_exact.theta.Passes`). The reference's ``exact`` is made of it.
"""
