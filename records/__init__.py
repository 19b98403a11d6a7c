"""Lists packed to RecordIO: made, checked, described, taken apart. Training reads what is made here."""
from records.check import ensure_checked
from records.packing import Options, ensure_packed, is_packed, pack

__all__ = ["Options", "ensure_checked", "ensure_packed", "is_packed", "pack"]
