"""Cancelling everywhere: connections, calls and their callbacks, streams, logins, groups, at each step."""
