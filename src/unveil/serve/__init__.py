"""The service: the pipeline over HTTP, a page to try it, and what keeps strangers from breaking it. Without torch."""
