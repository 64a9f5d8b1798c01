"""Generates requests, from permit to record, and opens what a run needs for it."""
