"""What is served: promotion and rollback, each checked before it is on the record."""
