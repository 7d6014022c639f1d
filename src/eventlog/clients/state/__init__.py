"""States: keyed tables that change in transactions."""
