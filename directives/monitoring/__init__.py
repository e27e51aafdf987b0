"""Monitoring: statistics, alarms, telemetry and checks of directives."""
