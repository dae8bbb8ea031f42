"""A folder conf/ in the current folder is searched too: one's own models, frameworks and sweeps, without a fork."""

from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class OwnConfigs(SearchPathPlugin):
    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        from bench.compose.composer import CONF

        own = Path.cwd() / "conf"
        if own.is_dir() and own.resolve() != CONF.resolve():
            # One's own file comes before a built-in one of the same name; but another program's root config must not become ours.
            add = search_path.append if (own / "config.yaml").exists() else search_path.prepend
            add("current-folder", f"file://{own}")
