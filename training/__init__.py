"""How networks are trained, saved, adapted and judged."""
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    "loop": ["fit"],
    "run": ["Run"],
    "schedule": ["StepSchedule"],
    "summary": ["EpochResult"],
})
