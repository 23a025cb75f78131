"""Pictures about pictures."""
