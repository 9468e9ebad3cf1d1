"""`tools/get` for pip tools: pins with hashes and nothing else in the lock, wheels only, an environment that runs where it ends up."""

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

GET = Path(__file__).resolve().parents[3] / "tools" / "get"


@pytest.fixture
def shed(tmp_path):
    """A folder of definitions with one pip tool, `hello`, a cache of its own, and a folder of wheels as all there is to install from."""
    home = tmp_path / "shed"
    home.mkdir()
    wheel(tmp_path / "wheels", "1.0")
    define(home)
    lock(home, pin(tmp_path / "wheels", "1.0"))
    return home


def wheel(folder, version):
    folder.mkdir(exist_ok=True)
    about = f"hello-{version}.dist-info"
    with zipfile.ZipFile(folder / f"hello-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(
            "hello.py", f"def main():\n    print('hello {version}')\n\nif __name__ == '__main__':\n    main()\n"
        )
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: hello\nVersion: {version}\n")
        archive.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{about}/entry_points.txt", "[console_scripts]\nhello = hello:main\n")
        archive.writestr(f"{about}/RECORD", "")


def pin(folder, version):
    digest = hashlib.sha256((folder / f"hello-{version}-py3-none-any.whl").read_bytes()).hexdigest()
    return f"hello=={version} \\\n    --hash=sha256:{digest}\n"


def define(home, version="1.0"):
    fields = {"kind": "pip", "version": version, "package": "hello", "binary": "bin/python"}
    lines = [f'{name} = "{value}"' for name, value in fields.items()]
    (home / "hello.toml").write_text("\n".join([*lines, 'sources = ["hello.txt"]']) + "\n")


def lock(home, text):
    (home / "hello.txt").write_text(text)


def get(home, *words):
    own = {"LOCKGATE_TOOLS": str(home), "LOCKGATE_CACHE": str(home.parent / "cache")}
    pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(home.parent / "wheels"), "PIP_CONFIG_FILE": os.devnull}
    argv = [sys.executable, str(GET), *words, "hello"]
    return subprocess.run(argv, env={**os.environ, **own, **pip}, capture_output=True, text=True, check=False)


def test_the_environment_runs_where_it_ended_up_and_has_no_script_that_names_where_it_was_made(shed):
    done = get(shed)
    assert done.returncode == 0, done.stderr
    python = Path(done.stdout.strip())
    assert python.parent.name == "bin" and python.is_relative_to(shed.parent / "cache" / "tools" / "hello")
    said = subprocess.run([python, "-m", "hello"], capture_output=True, text=True, check=True).stdout
    assert said == "hello 1.0\n"
    where = subprocess.run([python, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=True)
    assert where.stdout.strip() == str(python.parents[1])
    assert [path.name for path in python.parent.iterdir() if not path.name.startswith("python")] == []


def test_another_lock_is_another_environment(shed):
    first = get(shed, "--key").stdout
    wheel(shed.parent / "wheels", "1.1")
    define(shed, "1.1")
    lock(shed, pin(shed.parent / "wheels", "1.1"))
    assert get(shed, "--key").stdout not in {first, ""}


def test_a_file_with_another_hash_is_not_installed(shed):
    lock(shed, "hello==1.0 \\\n    --hash=sha256:" + "0" * 64 + "\n")
    done = get(shed)
    assert done.returncode == 1 and "exit code" in done.stderr
    assert not list((shed.parent / "cache").rglob("bin"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("hello==1.0\n", "line 1 is neither"),
        ("hello>=1.0 \\\n    --hash=sha256:" + "0" * 64 + "\n", "line 1 is neither"),
        ("hello==1.0 \\\nother==1.0 \\\n    --hash=sha256:" + "0" * 64 + "\n", "a requirement has no hash"),
        ("hello==1.0 \\\n", "a requirement has no hash"),
        ("--index-url http://index.test/simple\n", "line 1 is neither"),
        ("hello @ http://index.test/hello.whl \\\n    --hash=sha256:" + "0" * 64 + "\n", "line 1 is neither"),
        ("hello==1.1 \\\n    --hash=sha256:" + "0" * 64 + "\n", "pins hello at 1.1, not 1.0"),
        ("other==1.0 \\\n    --hash=sha256:" + "0" * 64 + "\n", "pins hello at no version, not 1.0"),
    ],
)
def test_a_lock_that_is_more_or_less_than_pins_with_hashes_is_refused_before_anything_is_made(shed, text, told):
    lock(shed, text)
    done = get(shed)
    assert done.returncode == 1 and told in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert not list((shed.parent / "cache").rglob("pyvenv.cfg"))
