"""Sphinx's settings; build.py puts the pages beside a copy of this file."""

from __future__ import annotations

from typing import Any, Optional

import edgehar

project = "edgehar"
version = release = edgehar.__version__
extensions = ["sphinx.ext.autodoc", "myst_parser"]
html_theme = "alabaster"
html_theme_options = {"description": "Wearable-sensor recordings in, a verified real-time activity recogniser out.",
                      "page_width": "1400px", "sidebar_width": "260px", "body_max_width": "none",
                      "font_family": "system-ui, sans-serif", "head_font_family": "system-ui, sans-serif",
                      "code_font_size": "0.78em"}
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
