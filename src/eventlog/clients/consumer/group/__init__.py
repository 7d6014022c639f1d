"""Members of a group, as a consumer sees them."""
