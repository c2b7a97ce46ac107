"""The transition: where retention, as a function of log₁₀ ε, crosses one half."""

from analysis.transition.fit import Transition, fit_transition

__all__ = ["Transition", "fit_transition"]
