"""One page that a person reads: which network to use, how sure that is, and what there is to see."""
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    "material": ["Material", "collect"],
    "page": ["write_report"],
})
