"""Facial landmarks on faces that are hidden."""

__version__ = "0.1.0"
