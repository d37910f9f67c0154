"""A reverse proxy that gives every client of the Avala API limits, a queue, retries and metrics.

Read `forwarder.py` first: it is the life of a request. `policy/` decides, `adapters/` touch the world,
`front.py` speaks HTTP to clients, `telemetry/` tells operators, `app.py` puts them together.
"""

__version__ = "0.1.0"
