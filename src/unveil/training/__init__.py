"""Training: the loop, tasks, settings and losses."""
