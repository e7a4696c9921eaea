"""Sphinx: pages in MyST Markdown, the API from the docstrings."""

import re

import marey

project = "Marey"
author = "The Marey developers"
project_copyright = "The Marey developers"
version = release = marey.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "_templates"]
default_role = "code"  # the docstrings quote code in single backticks
nitpicky = False

autosummary_generate = True
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
suppress_warnings = [
    "ref.python"
]  # shapes such as (people, J, 3) at the start of a field's docstring are no references
napoleon_google_docstring = True
napoleon_numpy_docstring = False

myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = "Marey"
html_static_path = ["_static"]


def escape_bars(app, what, name, obj, options, lines):
    """Docstrings write |x| for magnitudes, which reStructuredText takes for a substitution."""
    lines[:] = [re.sub(r"(?<![\w`\\])\|(?=\S)", r"\\|", line) for line in lines]


def setup(app):
    app.connect("autodoc-process-docstring", escape_bars)
