"""The operator is installed, upgraded and removed, as users do it, in clusters that have nothing of it."""
