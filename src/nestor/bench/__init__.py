"""Benchmarks: a grid of engines on one scenario, measured so that winners and losers accept it.

Nothing is imported here, so that the command line can read the names of modules without loading them.
"""
