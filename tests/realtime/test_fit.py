from __future__ import annotations

import numpy as np
import pytest

from realtime.fit import fit


@pytest.mark.parametrize(("rows", "columns"), [(480, 640), (640, 480), (256, 256), (1080, 1920), (90, 64), (1, 500)])
@pytest.mark.parametrize("size", [(256, 256), (64, 128), (128, 64)])
def test_every_camera_fits_every_model(rows: int, columns: int, size: tuple[int, int]) -> None:
    fitted = fit(np.zeros((rows, columns, 3), np.uint8), size)
    assert fitted.shape == (*size, 3)
    assert fitted.dtype == np.uint8
    assert fitted.flags.c_contiguous


def test_the_middle_is_kept_and_nothing_is_stretched() -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    image[:, 50:150] = 255  # exactly the square in the middle
    assert (fit(image, (50, 50)) == 255).all()


def test_a_circle_stays_a_circle() -> None:
    rows, columns = np.ogrid[:480, :640]
    image = np.repeat((((rows - 240) ** 2 + (columns - 320) ** 2 < 200**2) * 255).astype(np.uint8)[..., None], 3, 2)
    disc = fit(image, (256, 256))[..., 0] > 127
    assert abs(int(disc.any(axis=0).sum()) - int(disc.any(axis=1).sum())) <= 1


def test_a_picture_of_the_right_size_is_copied_not_shared() -> None:
    image = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
    fitted = fit(image, (4, 4))
    assert (fitted == image).all()
    assert not np.shares_memory(fitted, image)
