"""The viewer: pages to look at datasets, to review conversations and to follow what is paid. Server-rendered, readable without a script.

Everything that others wrote is escaped, and no page holds a script or a style of its own, so that the strictest policy can be set.
"""
