"""The `planebase` command: the whole platform on one machine, its demo, and the operator's verbs."""
