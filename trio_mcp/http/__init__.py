"""HTTP for the transports: one exchange at a time, with the library's own deadlines and errors.

The transports see `HttpClient` and `HttpResponse` only; which engine is behind them is decided in `setup.py`.
A request falls through these rooms, and its response comes back the same way:

    client.py, response.py   one exchange; redirects; what is left of a response
    setup.py                 which engine
    exposure.py              warnings of what others could listen to
    pool_engine.py           the engine of our own
    client_engine.py         the engine on an httpx2 client, or behind it an httpx one
    auth_flow.py             an auth flow of the user's, with bounds
    tidy_stream.py           an httpx2 client's stream, which can be let go of
    transport.py             the pool behind httpx2's interface
    pool.py                  connections, by origin
    exchange.py              one request and its response on one connection
    http11.py                HTTP/1.1 as bytes
    urls.py                  the URLs of servers
"""

from .client import HttpClient
from .response import HttpResponse
from .setup import HttpClientOption, Verify, open_engine

__all__ = ["HttpClient", "HttpClientOption", "HttpResponse", "Verify", "open_engine"]
