"""The APIs of transactions: of the producers that have some, and of those who administer them."""
