"""Surfaces: where voice platforms reach us. Thin shells around pure codecs."""
