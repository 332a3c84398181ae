"""``browser``: one Chromium for all tests of a module, which must be marked ``asyncio(loop_scope="module")``.

Where there is no Chromium these tests fail with a sentence that says how to get one; they are never skipped.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from playwright.async_api import Browser

from realtime.bench.browser import chromium


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser
