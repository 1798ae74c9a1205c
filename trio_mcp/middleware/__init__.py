"""Middleware: hooks around everything that passes through a connector, and some that are ready to use."""

from .base import CallNext, Middleware, MiddlewareContext

__all__ = ["CallNext", "Middleware", "MiddlewareContext"]
