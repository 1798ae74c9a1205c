"""Soak and load: very many calls through connections that break, and an account of each of them."""
