"""What `deepfake app` does: start Streamlit on the page, open to this machine alone."""

from __future__ import annotations

import socket
from pathlib import Path

from streamlit.web import bootstrap

from deepfake.app import script
from deepfake.app.page import MOST_MEGABYTES
from deepfake.errors import InputError

ADDRESS = "127.0.0.1"
OPTIONS = {  # of Streamlit; neither a `config.toml` nor an environment variable overrides them
    "server.address": ADDRESS,
    "server.enableCORS": True,
    "server.enableXsrfProtection": True,
    "server.fileWatcherType": "none",
    "server.headless": True,
    "server.maxUploadSize": MOST_MEGABYTES,
    "browser.gatherUsageStats": False,
    "client.showErrorDetails": "none",
    "client.toolbarMode": "viewer",
    "theme.light.primaryColor": "#005A94",  # of text too: 4.5:1 and more on the page's ground
    "theme.dark.primaryColor": "#7CC4F5",
}


def run(runs: Path, port: int) -> None:
    """Serve the page until SIGTERM or SIGINT.

    Args:
        runs: A run folder, a detector file, or a folder of runs.
        port: Port at 127.0.0.1.

    Raises:
        InputError: The port is taken.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, port))
        except (OSError, OverflowError) as error:
            raise InputError(f"port={port}: a free port was expected ({error}); give another --port") from error
    options = {name.replace(".", "_"): value for name, value in {**OPTIONS, "server.port": port}.items()}
    bootstrap.load_config_options(options)
    bootstrap.run(str(script.FILE), False, [str(runs)], options)
