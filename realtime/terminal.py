"""What the command line prints: addresses, one-line errors, tables that also come as JSON."""

from __future__ import annotations

import json
import socket
import threading
import time
import webbrowser
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import psutil
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from realtime.config import ServeConfig
    from realtime.doctor import Finding
    from realtime.hub import Hub


def print_json(value: Any) -> None:
    """Plain JSON on stdout, for other programs."""
    print(json.dumps(value, indent=2))


class TerminalAnnouncer:
    """Prints the addresses when the page is up, and that the model is ready when it is."""

    def __init__(self, config: ServeConfig, console: Console, *, open_browser: bool) -> None:
        self._config = config
        self._console = console
        self._open_browser = open_browser
        self._began = time.monotonic()
        self._status = console.status("Starting ...")

    def up(self, port: int) -> None:
        addresses = urls(self._config, port)
        for address in addresses:
            self._say(f"Studio   {address}")
        if not self._config.on_loopback and self._config.scheme == "http":
            self._say("Note     Browsers give a page the camera over HTTPS or on localhost only; for other machines")
            self._say("         pass --tls-cert and --tls-key.")
        self._say(f"Loading  {self._config.model} ...")
        if self._open_browser:
            # Some text browsers hold whoever opens them.
            threading.Thread(target=webbrowser.open, args=(addresses[0],), daemon=True).start()

    def chosen(self, why: str) -> None:
        self._say(f"Model    {why}")

    def progress(self, doing: str) -> None:
        """One line that is written over, where the terminal can do that."""
        if self._console.is_terminal:
            self._status.update(escape(doing))
            self._status.start()

    def ready(self, hub: Hub) -> None:
        self.close()
        about = hub.about()
        seconds = time.monotonic() - self._began
        self._say(
            f"Ready    {about['model']} on {about['device']} ({about['backend']}), {seconds:.1f} s after the start."
        )
        if self._config.source:
            self._say(f"         {self._config.source} is painted as the session 'live'.")
        self._say("         Stop with Ctrl-C.")

    def close(self) -> None:
        """Take the progress away. May be called twice."""
        self._status.stop()

    def _say(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, highlight=False, markup=False)


def urls(config: ServeConfig, port: int) -> list[str]:
    """Where the studio is found; for a wildcard address, on this machine and under each of its IPv4 addresses."""
    hosts = [config.host]
    if config.host in {"0.0.0.0", "::", ""}:
        hosts = ["localhost", *_addresses()]
    query = f"?token={config.token}" if config.token else ""
    return [f"{config.scheme}://{f'[{host}]' if ':' in host else host}:{port}/{query}" for host in hosts]


def _addresses() -> list[str]:
    return [
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family == socket.AF_INET and not address.address.startswith("127.")
    ]


def models_table(presets: Sequence[Mapping[str, Any]]) -> Table:
    """One row a model."""
    table = Table("Model", "Size", "U-Net", "Controls", "Licence", "Weights", box=None, pad_edge=False)
    table.columns[0].no_wrap = True
    for preset in presets:
        table.add_row(
            preset["name"],
            "×".join(map(str, preset["size"])),
            _millions(preset["unet_parameters"]),
            _controls(preset["controls"]),
            preset["licence"],
            "here" if preset["present"] else "not here" if preset["released"] else "train it",
        )
    return table


def _controls(controls: Sequence[Mapping[str, Any]]) -> str:
    """Kinds that share a network stand together, before its size."""
    kinds: dict[tuple[str, int], list[str]] = {}
    for each in controls:
        kinds.setdefault((each["repo"], each["parameters"]), []).append(each["kind"])
    return ", ".join(f"{'/'.join(names)} {_millions(size)}" for (_, size), names in kinds.items()) or "none"


def print_findings(console: Console, findings: Sequence[Finding]) -> None:
    """What the doctor found, one line each, the mend below it."""
    marks = {"ok": "[green]ok[/green]     ", "note": "[yellow]note[/yellow]   ", "missing": "[red]missing[/red]"}
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        line = f"{marks[finding.verdict]}  {finding.check:<{width}}  {escape(finding.detail)}"
        console.print(line, soft_wrap=True, highlight=False)
        if finding.mend:
            console.print(" " * (11 + width) + escape(finding.mend), soft_wrap=True, highlight=False)


def _millions(parameters: int) -> str:
    return f"{parameters / 1e6:.1f} M"
