"""Lists packed to RecordIO: made, checked, described, taken apart. Training reads what is made here."""
from records.check import ensure_checked
from records.packing import Options, ensure_packed, is_packed, pack
from records.sources import ensure_ready

__all__ = ["Options", "ensure_checked", "ensure_packed", "ensure_ready", "is_packed", "pack"]
