"""Bring a Chromium for the browser tests: the system's, Debian's package as root, otherwise Playwright's own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find() -> str | None:
    """A Chromium that is already here: ``$CHROMIUM``, one on the PATH, or the one that Playwright brought."""
    named = os.environ.get("CHROMIUM")
    if named:
        return named
    on_path = next((path for path in map(shutil.which, NAMES) if path), None)
    return on_path or _playwrights_own()


def _playwrights_own() -> str | None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if os.path.exists(path) else None


def _run(*command: str) -> bool:
    print("+", *command, flush=True)
    return subprocess.run(command, check=False).returncode == 0


def main() -> None:
    """Never fails by itself: the browser tests do, with a sentence, when there is no browser."""
    if find():
        return
    as_root = hasattr(os, "geteuid") and os.geteuid() == 0
    if (
        as_root
        and shutil.which("apt-get")
        and _run("apt-get", "update", "-q")
        and _run("apt-get", "install", "-y", "-q", "--no-install-recommends", "chromium")
    ):
        return
    if not _run(sys.executable, "-m", "playwright", "install", "chromium"):
        print("No Chromium could be installed; the browser tests will fail and say so. Set $CHROMIUM to one.")


if __name__ == "__main__":
    main()
