"""The queues that are compared; each knows only itself."""
