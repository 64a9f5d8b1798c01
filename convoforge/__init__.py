"""convoforge: training conversations with Claude, at the rate the API allows, with the books kept to the cent."""
