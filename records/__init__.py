"""Lists packed to RecordIO: made, checked, described, taken apart. Training reads what is made here."""
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    "check": ["ensure_checked"],
    "encoding": ["Options"],
    "folders": ["read_images"],
    "packing": ["ensure_packed", "is_packed", "pack"],
    "ready": ["ensure_ready"],
})
