"""Sphinx's settings; build.py puts the pages beside a copy of this file."""

from __future__ import annotations

from typing import Any, Optional

import edgehar

project = "edgehar"
version = release = edgehar.__version__
extensions = ["sphinx.ext.autodoc", "myst_parser"]
html_theme = "furo"
html_title = "edgehar %s" % version
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
default_role = "code"
autodoc_member_order = "bysource"
myst_heading_anchors = 3
suppress_warnings = ["ref.python"]  # a backend's Session and that of a DSADS recording share a name


def without_aliases(app: Any, what: str, name: str, member: Any, skip: bool, options: Any) -> Optional[bool]:
    """Leave out fields of named tuples, of which the docstring above them tells more than their own."""
    return True if str(getattr(member, "__doc__", "")).startswith("Alias for field number") else None


def setup(app: Any) -> None:
    app.connect("autodoc-skip-member", without_aliases)
