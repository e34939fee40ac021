"""Sphinx settings of the site: `make docs` builds docs/_build/html, without network access."""

from __future__ import annotations

import logging
import os
import re
import warnings
from typing import Any

import spikerec

os.environ.setdefault("OMP_NUM_THREADS", "1")  # examples repeat to the bit
# Lightning 2.6 meets PyTorch 2.15 with a deprecation of its own at every start.
warnings.filterwarnings("ignore", message=".*LeafSpec.*")
for name in ("lightning.pytorch.utilities.rank_zero", "spikerec"):
    logging.getLogger(name).setLevel(logging.WARNING)

project = "spikerec"
author = "the spikerec developers"
version = release = spikerec.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "examples", "leaderboard", "sg_execution_times.rst"]
suppress_warnings = ["config.cache"]  # sphinx-gallery's settings hold functions

html_theme = "furo"
templates_path = ["_templates"]
html_title = "spikerec"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_copyright = False
html_show_sourcelink = False
html_copy_source = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# Docstrings are Google's style, with types in the signature; their `code` is code.
default_role = "code"
autosummary_generate = True
autosummary_imported_members = True
autosummary_ignore_module_all = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = ["Source", "Sources", ("Class attributes", "params_style")]
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88

copybutton_exclude = ".linenos, .gp, .go"

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "show_memory": False,
    "write_computation_times": False,
    "show_signature": False,
    "remove_config_comments": True,
    "plot_gallery": "True",
    "reset_modules_order": "before",
    "abort_on_example_error": True,
    "copyfile_regex": r"",
}


def escape_bars(*arguments: Any) -> None:  # noqa: ANN401 (what Sphinx passes)
    """Let |x| in a docstring be an absolute value, not a substitution of reStructuredText."""
    lines = arguments[-1]
    for index, line in enumerate(lines):
        if ">>>" not in line:
            parts = re.split(r"(`[^`]*`)", line)
            parts[::2] = [part.replace("|", r"\|") for part in parts[::2]]
            lines[index] = "".join(parts)


def setup(app: Any) -> None:  # noqa: ANN401 (Sphinx's application)
    """Connect what Sphinx calls."""
    app.connect("autodoc-process-docstring", escape_bars)
