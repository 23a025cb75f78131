"""The deployable form: layers of integer weights."""
