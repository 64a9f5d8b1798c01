"""Which conversations of a dataset are accepted, what is missing, what it will cost, and its release."""
