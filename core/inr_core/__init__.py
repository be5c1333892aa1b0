"""Physics, implicit neural representations and solvers for dynamic radial MRI: tensors and dataclasses only.

Nothing is imported here, so that ``import inr_core.errors`` costs nothing: torch comes in with the modules that use it.
"""
