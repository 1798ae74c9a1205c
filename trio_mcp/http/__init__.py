"""HTTP for the transports: one exchange at a time, with the library's own deadlines and errors.

The transports see `HttpClient` and `HttpResponse` only; which engine is behind them is decided here.
"""

from .client import HttpClient, HttpResponse
from .engine import HttpClientOption, Verify, open_engine

__all__ = ["HttpClient", "HttpClientOption", "HttpResponse", "Verify", "open_engine"]
