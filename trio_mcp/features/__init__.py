"""Features built on a session."""
