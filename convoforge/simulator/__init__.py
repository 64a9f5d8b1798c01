"""A local server that speaks the Claude Messages API: the same client, no key, no cost, and every fault on demand.

`launch.simulator_process` runs one beside this process, `server.serve` is one, and `client.SimulatorControl` scripts its faults and
reads its usage.
"""
