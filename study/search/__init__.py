"""Searches: strategies that learn from the trials that are over which to run next. Optuna is imported here alone.

``record`` and ``goals`` know nothing of Optuna, so that reading a study does not load it.
"""
