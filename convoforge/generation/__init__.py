"""One request, from permit to record; and what one run holds."""
