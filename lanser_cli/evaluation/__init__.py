"""Metrics, reports, audits of leaks, and sweeps over ways to label."""
