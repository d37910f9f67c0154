"""What operators ask the proxy over HTTP: to show what it does, and to open and close breakers by hand."""
