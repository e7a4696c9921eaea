"""The table of methods and the one way through the house."""
