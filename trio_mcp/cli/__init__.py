"""The command line, `trio-mcp`; it needs the `cli` extra (typer and rich)."""
