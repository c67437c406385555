"""The main job on real data: two tenants, from provisioning to a delivered alert, and a proof that it all holds."""
