"""Bring a Chromium for the browser tests: the system's, Debian's package as root, otherwise Playwright's own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from realtime.bench.browser import NoBrowser, chromium_path


def _here() -> bool:
    try:
        return bool(chromium_path())
    except NoBrowser:
        return False


def _run(*command: str) -> bool:
    print("+", *command, flush=True)
    return subprocess.run(command, check=False).returncode == 0


def _install_debians() -> bool:
    as_root = hasattr(os, "geteuid") and os.geteuid() == 0
    if not as_root or not shutil.which("apt-get"):
        return False
    install = ("apt-get", "install", "-y", "-q", "--no-install-recommends", "chromium")
    return _run("apt-get", "update", "-q") and _run(*install)


def main() -> None:
    """Never fails by itself: where there is no browser, the tests fail and say so."""
    if _here() or _install_debians():
        return
    if not _run(sys.executable, "-m", "playwright", "install", "chromium"):
        print("No Chromium could be installed; the browser tests will fail and say so. Set $CHROMIUM to one.")


if __name__ == "__main__":
    main()
