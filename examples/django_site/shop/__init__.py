"""The app: orders in the database, their events in the log, invoices made of the events."""
