"""What is deployed, as far as it can be checked without Docker: the files that are named, and the commands."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import yaml
from tiny import REPOSITORY

from deepfake.cli import _parser

DEPLOY = REPOSITORY / "experiments/deploy"
DOCKERFILES = {"api": DEPLOY / "Dockerfile", "page": DEPLOY / "page/Dockerfile"}
GIVEN = {"detector"}  # a run folder, which whoever builds the page puts there
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["deepfake"]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


def instructions(name: str) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile, in order."""
    lines = DOCKERFILES[name].read_text().replace("\\\n", " ").splitlines()
    pairs = [line.split(" ", 1) for line in lines if line and not line.startswith("#")]
    return [(word, rest) for word, rest in pairs]


def last(name: str, word: str) -> str:
    return [rest for found, rest in instructions(name) if found == word][-1]


@pytest.mark.parametrize("name", DOCKERFILES)
def test_an_image_copies_what_is_there_and_installs_extras_that_exist_for_nobody_but_a_user(name):
    copied = [source for word, rest in instructions(name) if word == "COPY" for source in rest.split()[:-1]]
    assert {"pyproject.toml", "README.md", "conf", "deepfake"} <= {*copied}
    assert [source for source in copied if source not in GIVEN and not (REPOSITORY / source).exists()] == []
    assert PROJECT["readme"] in copied and "license-files" not in PROJECT  # all that a wheel is built of
    (installed,) = re.findall(r'pip install --no-cache-dir "\.\[([\w,]+)\]"', DOCKERFILES[name].read_text())
    assert {*installed.split(",")} <= {*PROJECT["optional-dependencies"]}
    words = [word for word, _ in instructions(name)]
    assert last(name, "USER") == "deepfake" and words.index("USER") < words.index("CMD")
    (version,) = re.findall(r"python:(\d\.\d+)-slim", last(name, "FROM"))
    assert PROJECT["requires-python"] == f">={version}"


def test_the_command_of_the_image_is_one_that_serves():
    command, *words = [*json.loads(last("api", "ENTRYPOINT")), *json.loads(last("api", "CMD"))]
    assert command in PROJECT["scripts"]
    given = _parser().parse_args(words)
    assert (str(given.run), given.host, str(given.key_file)) == ("/run/detector", "0.0.0.0", "/run/keys")
    assert str(given.port) == last("api", "EXPOSE")


def test_compose_builds_that_image_and_mounts_what_its_command_names():
    context = (DEPLOY / COMPOSE["build"]["context"]).resolve()
    assert context == REPOSITORY.resolve() and context / COMPOSE["build"]["dockerfile"] == DOCKERFILES["api"].resolve()
    mounted = [volume.rsplit(":", 2)[1:] for volume in COMPOSE["volumes"]]
    assert mounted == [["/run/detector", "ro"], ["/run/keys", "ro"]]
    assert COMPOSE["ports"] == ["127.0.0.1:5000:5000"] and COMPOSE["read_only"] and COMPOSE["cap_drop"] == ["ALL"]
    (temporary,) = (re.fullmatch(r"/tmp:size=(\d+)g,mode=1777", mount) for mount in COMPOSE["tmpfs"])
    assert temporary and int(temporary[1]) >= 4  # which counts as the container's memory
    assert int(COMPOSE["mem_limit"].removesuffix("g")) >= int(temporary[1]) + 2
    assert COMPOSE["stop_grace_period"] == "310s"  # longer than the server takes at most


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_health_check_asks_whether_it_is_ready(status, code):
    asked = []

    class Ready(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    kind, command, *rest = COMPOSE["healthcheck"]["test"]
    assert (kind, command) == ("CMD", "python")
    with HTTPServer(("127.0.0.1", 0), Ready) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        ours = [word.replace(":5000/", f":{server.server_port}/") for word in rest]
        assert ours != rest and subprocess.run([sys.executable, *ours], stderr=subprocess.DEVNULL).returncode == code
    assert asked == ["/ready"]


def test_a_space_has_the_port_of_its_page_and_a_platform_its_extras():
    (port,) = re.findall(r"app_port: (\d+)", (DEPLOY / "page/README.md").read_text())
    command = json.loads(last("page", "CMD"))
    assert f"--server.port={port}" in command and last("page", "EXPOSE") == port
    assert (DEPLOY / "page" / command[2]).is_file()
    extras = re.fullmatch(r"\.\[([\w,]+)\]", (DEPLOY / "page/requirements.txt").read_text().strip())
    assert extras and {*extras[1].split(",")} <= {*PROJECT["optional-dependencies"]}
