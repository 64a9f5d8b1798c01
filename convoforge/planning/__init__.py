"""From a spec to cells and requests: templates, personas, the plan, sampling, request fingerprints, facts of models."""
