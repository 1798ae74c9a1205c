"""What a connector has counted: cheap integers while it runs, a copy for whoever asks."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["Statistics"]


@dataclass(slots=True)
class Statistics:
    """Counts since the block was entered. What `Connector.statistics()` returns is a copy."""

    requests: int = 0
    """Requests begun."""
    requests_in_flight: int = 0
    """Requests begun and not yet ended."""
    requests_failed: int = 0
    """Requests that ended in an error, cancelled ones apart."""
    requests_cancelled: int = 0
    """Requests whose caller was cancelled."""
    server_requests: int = 0
    """Requests of the server (sampling, elicitation, roots, ping) that were taken up."""
    notifications: int = 0
    """Notifications received."""
    notifications_dropped: int = 0
    """Notifications that no callback saw, because it was too slow and its queue full."""
    stderr_dropped: int = 0
    """Lines of a server's stderr that no callback saw, because it was too slow, or had ended."""
    unknown_messages: int = 0
    """Messages that the protocol does not provide for here; they were dropped."""
    unanswerable_requests: int = 0
    """Requests of the server that were dropped, because too many were being answered already."""
    undelivered: int = 0
    """Answers and notifications to the server that could not be delivered."""
    stream_reconnects: int = 0
    """Event streams that were taken up again."""
    reconnects: int = 0
    """Connections that were lost and opened again."""
    reinitializations: int = 0
    """Sessions that the server had ended and that were opened anew."""
    tools_dropped: int = 0
    """Tools left out of listings, because their `x-mcp-header` annotations are not lawful."""

    def copy(self) -> Statistics:
        """The counts as they are now."""
        return replace(self)
