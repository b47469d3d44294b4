"""The agent's API: written once as typed signatures, from which the server's routes and the client both come."""
