"""A local server that implements the Claude Messages API: used with the same client, no key, no cost, and every fault on demand.

`launch.simulator_process` runs one in a child process, `server.serve` runs one in this process, and `client.SimulatorControl`
scripts its faults and reads its usage.
"""
