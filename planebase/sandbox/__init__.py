"""The embedded stack's payment provider and mail receiver: real servers on this machine, no real money."""
