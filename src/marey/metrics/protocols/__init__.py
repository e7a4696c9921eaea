"""The field's published protocols, each equal to the program that defines it."""
