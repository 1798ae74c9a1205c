"""`mcpServers` files, as hosts such as Claude, VS Code and Cursor have them, as servers to open."""

from .loading import load_servers

__all__ = ["load_servers"]
