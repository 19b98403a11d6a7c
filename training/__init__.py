"""How networks are trained, saved, adapted and judged."""
