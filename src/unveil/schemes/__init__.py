"""Landmark schemes, their part hierarchies, head pose and landmark maps."""
