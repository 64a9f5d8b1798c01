"""How far runs are, as the ledger has it: for the command line, the viewer and the API alike."""
