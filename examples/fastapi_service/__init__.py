"""A shop on FastAPI: orders are stored, billed in the background, and streamed to browsers."""
