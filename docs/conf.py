"""Sphinx configuration; CONTRIBUTING.md has the command."""

import sys
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "pytest-xai"
author = "pytest-xai contributors"
project_copyright = author
release = metadata.version("pytest-xai")
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinxcontrib.bibtex",
    "registry_pages",
]

source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
nitpicky = True
# An option such as --xai keeps its two hyphens.
smartquotes = False
# A name in single backticks in a docstring becomes a link if these pages document it. Types of
# other libraries, and our own that are not public, stay text.
default_role = "py:obj"
nitpick_ignore_regex = [("py:(obj|class|exc)", ".*")]
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_use_ivar = True
napoleon_numpy_docstring = False
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "plain"
bibtex_reference_style = "author_year"

html_theme = "furo"
html_title = f"pytest-xai {release}"
html_copy_source = False
html_show_sphinx = False
