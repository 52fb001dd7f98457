"""Staged lesions in a scene: nodes in, nodes out, and what readers make of them. No Qt here."""
