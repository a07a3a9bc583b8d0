"""Data sets of faces with landmarks, read from the folders in which they are released."""
