"""One engine in its own process, and the run directory with what is finished.

Nothing is imported here: a worker is a fresh interpreter that should load only what it needs.
"""
