"""Applications for finding out why another one does not work."""
