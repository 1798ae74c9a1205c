"""What clients do at servers that misbehave, side by side: `python tests/comparison/run.py`."""
