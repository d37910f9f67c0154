"""Listeners: what happened (`events.py`) becomes series and log lines. Nothing here reaches a request."""
