"""A new plugin, written whole: a check with an exact interval, its phantoms, its tests and its page, ready to be grown.

``ldm-eval plugins new NAME`` calls it. The files are made from ``templates/``; what is generated installs, passes the
conformance kit, and measures a model as it stands.
"""

from __future__ import annotations

from ldm_eval.testing.scaffold.names import PluginNames, plugin_names
from ldm_eval.testing.scaffold.writing import GeneratedFile, generated_files, write_plugin

__all__ = ["GeneratedFile", "PluginNames", "generated_files", "plugin_names", "write_plugin"]
