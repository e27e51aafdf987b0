"""Health: checks of a deployment, the command `doctor`, and readiness."""
