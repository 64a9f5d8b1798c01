"""The HTTP API for products: one conversation, or up to a hundred, with score, cost and a typed error."""
