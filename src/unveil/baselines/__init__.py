"""Methods to compare with, behind the interfaces of the core."""
