"""The problems of ``nestor demo``."""

from __future__ import annotations

from typing import Literal

from nestor.data import datasets
from nestor.data.problem import Problem
from nestor.errors.arguments import whole
from nestor.model.spec import ModelSpec

FORMULA = "salary ~ month_index + (month_index || degree/state/county)"

_ABOUT = {
    "income": "A simulated tree: salary by month within degree, state and county.",
    "blog": (
        "The blog post's data and model: one or two children per parent, a scale for each parent, wide "
        "uniform priors, Cauchy errors. Such a posterior is hard for every sampler, so the verdict "
        "may be INCONCLUSIVE: where the chains of one or both engines fail the convergence gates, "
        "nothing can be said about agreement beyond the densities."
    ),
}


def blog_spec() -> ModelSpec:
    """Return the blog post's model: scale per parent, uniform priors, Student-t errors with nu = 1."""
    return ModelSpec.from_formula(
        FORMULA,
        family="student_t",
        scale="parent",
        priors={
            "beta[month_index]": "Normal(6500, 10000)",
            "beta[Intercept]": "Normal(1000, 10000)",
            "tau": "Uniform(0, 1000)",
            "sigma": "Uniform(0, 10000)",
            "nu": 1,
        },
    )


def demo_problem(model: Literal["income", "blog"], seed: int) -> tuple[Problem, str]:
    """Return an example problem and a sentence about it.

    Parameters
    ----------
    model : {"income", "blog"}
        The simulated tree, or the blog post's data and model.
    seed : int
        Of the simulated data.

    Raises
    ------
    SpecError
        If the seed is no whole number of at least 0.
    """
    seed = whole("the data's seed", seed, least=0)
    if model == "blog":
        return Problem(blog_spec(), datasets.blog_income(seed=seed)), _ABOUT[model]
    return Problem(ModelSpec.from_formula(FORMULA), datasets.income(seed=seed)), _ABOUT[model]
