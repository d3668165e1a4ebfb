"""Searching over HTTP: a web app around one store. It knows nothing of Ray, which runs copies of it."""
