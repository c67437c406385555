"""The schema of a base: what is wanted (spec), what differs (diff), and the steps that lead there (ops)."""
