"""What operators ask the proxy over HTTP: metrics, health, readiness, status. Nothing can be changed here."""
