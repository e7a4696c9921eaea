"""Plots, overlays and the HTML report."""
