"""Health: checks of a deployment, the doctor, and readiness."""
