"""Alignment of very many images into parquet shards, on this machine or on a Ray cluster."""
