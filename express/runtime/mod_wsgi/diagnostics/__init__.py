"""Applications for diagnosing why another application does not work."""
