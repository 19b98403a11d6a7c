"""Judging networks without target labels: what they say of images, scores of that, candidates, the choice."""
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    "basis": ["Score"],
    "candidates": ["Candidate", "find_candidates", "look_at_all"],
    "choice": ["Choice", "Rule", "choose", "rule_by"],
    "registry": ["SCORES", "score"],
    "seen": ["Seen", "look"],
})
