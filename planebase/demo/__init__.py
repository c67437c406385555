"""The main job on real data: two tenants, from provisioning to a delivered alert, and a proof."""

from planebase.demo.run import prove_runs, run

__all__ = ["prove_runs", "run"]
