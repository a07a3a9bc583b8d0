"""Networks, each beside its frozen config."""
