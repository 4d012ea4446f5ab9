"""Sphinx reads this file: ``make docs`` builds the documentation site from the pages beside it."""

import os
import sys
from importlib.metadata import version as installed_version
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

# Tutorials call the command `nestor` of this environment, and its tables fit the page.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
os.environ["COLUMNS"] = "100"

project = "nestor"
author = "the nestor developers"
version = release = installed_version("nestor")

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "mathml",
    "command_pages",
    "docstring_names",
]
exclude_patterns = ["_build", "_templates", "**/.ipynb_checkpoints"]
suppress_warnings = ["config.cache"]

# Markdown. A link to a heading is checked like a link to a page.
myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 4
nitpicky = True

# Tutorials are run when the site is built, and again only when their text changes.
nb_execution_mode = os.environ.get("NESTOR_DOCS_EXECUTE", "cache")
nb_execution_timeout = 900
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True

highlight_language = "text"

# The API. `name` in a docstring is a link where it is documented, and code where it is not.
default_role = "py:obj"
autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
templates_path = ["_templates"]

html_theme = "pydata_sphinx_theme"
html_title = "nestor"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_sidebars = {"index": [], "getting-started": []}
html_theme_options = {
    "logo": {"text": "nestor"},
    "navigation_with_keys": False,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "article_header_start": ["breadcrumbs"],
    "navbar_persistent": [],
    "navbar_end": ["search-button-field", "theme-switcher"],
}
project_copyright = "the nestor developers, Apache-2.0"
