"""`trio-mcp doctor`: from the name of a host up to what the server offers; what is wrong, and what to do."""
