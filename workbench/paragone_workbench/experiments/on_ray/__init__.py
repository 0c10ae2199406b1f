"""Suites on a Ray cluster: nodes open the engines and return shards of results, which are saved in the history here.

Only `cluster` imports Ray. `node_report` and `cell_actor` run on the nodes.
"""
