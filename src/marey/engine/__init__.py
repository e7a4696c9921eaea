"""Machinery that names no method: training, evaluation, export."""
