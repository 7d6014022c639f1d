"""Transactions, and the processors built on them."""
