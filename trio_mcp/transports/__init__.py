"""How one message gets to the server, and its answer back."""
