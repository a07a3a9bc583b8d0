"""Counters for Prometheus: requests, their time, images, faces, and how full the service is."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """One service's counters. They have no label that a client chooses.

    Example:
        >>> metrics = Metrics()
        >>> metrics.observe("POST", "/align", 200, 0.04)
        >>> metrics.text().startswith("# HELP")
        True
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "route")
        self._requests = Counter("unveil_requests", "Requests by status", (*labels, "status"), registry=self.registry)
        self._seconds = Histogram(
            "unveil_request_seconds", "Time of a request", labels, buckets=SECONDS, registry=self.registry
        )
        self.images = Counter("unveil_images", "Images that were processed", ("route",), registry=self.registry)
        self.faces = Counter("unveil_faces", "Faces that they show", ("route",), registry=self.registry)
        self.connections_closed = Counter(
            "unveil_connections_closed", "Connections closed on a client", ("reason",), registry=self.registry
        )
        ProcessCollector(registry=self.registry)

    def gauge(self, name: str, help_text: str, value: Callable[[], float]) -> None:
        """Add a value that is read when the metrics are.

        Args:
            name: With the unit as its suffix.
            help_text: One line.
            value: Returns the value.
        """
        Gauge(name, help_text, registry=self.registry).set_function(value)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request.

        Args:
            method: One of HTTP's.
            route: The path of the route, not of the request.
            status: 0 if the client left before there was one.
            seconds: From its headers to the end of the response.
        """
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def text(self) -> str:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry).decode()
