"""Monitoring: counts, statistics, alarms, gauges and checks of directives."""
