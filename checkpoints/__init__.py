"""Networks on disk, as stock MXNet reads and writes them."""
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    "checkpoint": ["Checkpoint", "load_checkpoint", "save_checkpoint", "saved_epochs", "write_checkpoint"],
})
