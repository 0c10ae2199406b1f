"""Suites on a Ray cluster: engines are opened on its nodes, and results come back as shards that the history merges.

`cluster` alone imports Ray. `node_report` and `cell_actor` are what runs on the nodes.
"""
