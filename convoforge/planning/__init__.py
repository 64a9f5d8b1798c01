"""Turns a spec into cells and requests: templates, personas, plan, sampling, request fingerprints, model facts."""
