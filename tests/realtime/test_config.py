from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from realtime.config import make
from realtime.errors import BadInput
from realtime.options import parse_settings, parse_size
from realtime.terminal import urls


def test_on_loopback_no_token_is_needed() -> None:
    for host in ("127.0.0.1", "localhost", "::1", "127.1.2.3"):
        assert make(host=host).token is None


def test_off_loopback_a_fresh_token_is_made_unless_one_is_given() -> None:
    first, second = make(host="0.0.0.0"), make(host="0.0.0.0")
    assert first.token
    assert len(first.token) >= 20
    assert first.token != second.token
    assert make(host="192.168.1.5", token="my-own-token").token == "my-own-token"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"port": 70000}, "--port 70000: input should be less than or equal to 65535."),
        ({"max_sessions": 0}, "--max-sessions 0"),
        ({"fps": 0}, "--fps 0: input should be greater than or equal to 1."),
        ({"fps": 500}, "--fps 500: input should be less than or equal to 120."),
        ({"backend": "magic"}, "--backend 'magic': input should be 'auto', 'eager'"),
        ({"dtype": "fp8"}, "'auto', 'fp16', 'bf16' or 'fp32'"),
        ({"control": "pose"}, "'none', 'canny', 'sketch' or 'depth'"),
        ({"token": ""}, "at least 1 character"),
        ({"token": "with space in it"}, "--token may hold letters"),
        ({"tls_cert": "cert.pem"}, "both --tls-cert and --tls-key"),
        ({"allow_origins": ("https://example.org/page",)}, "no path"),
        ({"allow_origins": ("example.org",)}, "https://example.org"),
    ],
)
def test_a_wrong_option_is_named_with_what_to_do(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput) as caught:
        make(**options)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_addresses_printed_are_complete() -> None:
    assert urls(make(), 8080) == ["http://127.0.0.1:8080/"]
    assert urls(make(host="::1"), 80) == ["http://[::1]:80/"]
    secure = make(host="example.org", token="a-long-token", tls_cert=Path("c"), tls_key=Path("k"))
    assert urls(secure, 443) == ["https://example.org:443/?token=a-long-token"]
    everywhere = urls(make(host="0.0.0.0", token="a-long-token"), 80)
    assert everywhere[0] == "http://localhost:80/?token=a-long-token"
    assert all("0.0.0.0" not in address for address in everywhere)


def test_sizes_are_written_width_first() -> None:
    assert parse_size("512") == (512, 512)
    assert parse_size("640x384") == parse_size("640×384") == (384, 640)
    for wrong in ("", "x", "640x", "-5", "16", "9999", "512x512x3"):
        with pytest.raises(BadInput, match="--size"):
            parse_size(wrong)


def test_settings_are_written_name_equals_value() -> None:
    assert parse_settings(["prompt_b=neon = light", "blend=0.5", "canny-low=10"]) == {
        "prompt_b": "neon = light",
        "blend": "0.5",
        "canny_low": "10",
    }
    assert parse_settings(["extra_controls=depth:0.5,canny:1"]) == {"extra_controls": {"depth": "0.5", "canny": "1"}}
    assert parse_settings(["extra_controls="]) == {"extra_controls": {}}
