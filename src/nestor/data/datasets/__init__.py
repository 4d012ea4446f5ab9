"""Data with known truth: the blog post's series, a larger income tree, trees of any shape."""

from nestor.data.datasets.blog import blog_income, blog_truth
from nestor.data.datasets.income import income, income_truth, simulate_income
from nestor.data.datasets.simulate import Simulated, simulate_tree

__all__ = [
    "Simulated",
    "blog_income",
    "blog_truth",
    "income",
    "income_truth",
    "simulate_income",
    "simulate_tree",
]
