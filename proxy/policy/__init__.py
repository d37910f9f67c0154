"""Decisions: pure, synchronous, and handed all they need (time and chance included)."""
