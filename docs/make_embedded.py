"""Takes the pictures of the embedded model anew: python docs/make_embedded.py MODEL [--before OLD_MODEL]

docs/embedded-sheet.jpg: eight photographs that nothing was trained on, in every style. docs/embedded-film.jpg: frames
of a moving clip, and two styles of it. docs/embedded-words.jpg: subjects from words alone. docs/embedded-depth.jpg:
depths and what is painted from them. docs/embedded-blend.jpg: from one style to another, and along init_strength,
strength and seeds. docs/embedded-before-after.jpg, with ``--before``: the same photographs by an older model, in the
styles that both know.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from numpy.typing import NDArray

from pipelines.training.evaluation.edges import HELD_OUT, held_out_photographs
from pipelines.training.evaluation.film import read_film, steadied
from pipelines.training.evaluation.known_depth import known_scenes
from pipelines.training.evaluation.painter import Painter, fit
from realtime.model import Model, load
from realtime.still import paint_still

Picture = NDArray[np.uint8]
MARGIN, LABEL, LIMIT = 4, 20, 400_000
#: The photographs whose colours the sheet lets in.
COLOURED = ("astronaut", "chelsea", "stereo_motorcycle", "retina")
SHORT = {"stereo_motorcycle": "motorcycle"}
SUBJECTS = (
    "fox, strawberry, cat, rocket, sunflower, owl, car, tree, fish, apple, castle, dog, butterfly, mushroom, "
    "penguin, pizza, guitar, turtle, house, pineapple, unicorn, sailboat, frog, cake"
)
STEPS = 7
DEPTHS = 5
Names = Annotated[str, typer.Option(help="Styles by name, with commas.")]


def settings(painter: Painter, prompt: str, **changes: Any) -> Any:
    """Held to the canny map at 0.8 unless it is said otherwise."""
    first = painter.settings(prompt, seed=changes.pop("seed", 0), control="canny", strength=0.8)
    return first.replace(**changes)


def tile(picture: Picture, side: int, label: str = "") -> Picture:
    """A picture on white with its label above it."""
    small = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
    top = LABEL if label else 0
    framed = cv2.copyMakeBorder(small, top, MARGIN, 0, MARGIN, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    cv2.putText(framed, label, (2, LABEL - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (40, 40, 40), 1, cv2.LINE_AA)
    return np.asarray(framed, np.uint8)


def grid(rows: Sequence[Sequence[Picture]]) -> Picture:
    return np.concatenate([np.concatenate(row, 1) for row in rows])


def save(file: Path, sheet: Picture) -> None:
    """As JPEG, as good and as large as fits into 400 kB."""
    bgr, quality = cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), 93
    while len(data := cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]) >= LIMIT:
        quality -= 3
        if quality < 75:
            bgr, quality = cv2.resize(bgr, None, fx=0.9, fy=0.9, interpolation=cv2.INTER_AREA), 93
    file.write_bytes(data.tobytes())
    typer.echo(f"{file}: {bgr.shape[1]}×{bgr.shape[0]}, quality {quality}, {len(data) // 1000} kB")


def sheet(painter: Painter, init_strength: float, side: int = 148) -> Picture:
    """A row a photograph, a column a style; the camera's colours are let in where the row says so."""
    rows = []
    for place, (name, photograph) in enumerate(photographs(painter).items()):
        colours = init_strength if name in COLOURED else 0.0
        label = f"{SHORT.get(name, name)}{f', colours {colours:g}' if colours else ''}"
        asked = [settings(painter, prompt, seed=place, init_strength=colours) for _, prompt in painter.styles]
        painted = painter.paint([photograph] * len(asked), asked)
        labels = [style if place == 0 else "" for style, _ in painter.styles]
        pairs = zip(painted, labels, strict=True)
        row = [tile(photograph, side, label), *(tile(each, side, text or " ") for each, text in pairs)]
        rows.append(row)
    return grid(rows)


def film(painter: Painter, clip: str, styles: Sequence[str], side: int = 200) -> Picture:
    """Eight frames one after the other, and what the live path makes of them."""
    frames = [fit(each, painter.size) for each in (read_film(clip, frames=8) if clip else moving(painter.size[0]))]
    rows = [[tile(each, side) for each in frames]]
    for style in styles:
        asked = settings(painter, prompt_of(painter, style), init_strength=0.7)
        painted = steadied(frames, painter.paint(frames, [asked] * len(frames)), asked)
        rows.append([tile(each, side) for each in painted])
    return grid(rows)


def moving(side: int, frames: int = 8) -> list[Picture]:
    """A hand-held camera: it pans, turns and comes nearer, and its sensor is noisy."""
    (photograph,) = held_out_photographs(HELD_OUT[:1], 2 * side).values()
    rng, found = np.random.default_rng(0), []
    for frame in range(frames):
        turn = cv2.getRotationMatrix2D((1.0 * side, 0.62 * side), 0.8 * frame - 3, 0.86 + 0.012 * frame)
        turn[:, 2] += np.array([side / 2 - side + 3.0 * frame - 10, side / 2 - 0.62 * side + 1.0 * frame])
        view = cv2.warpAffine(photograph, turn, (side, side), flags=cv2.INTER_AREA)
        noisy = view + rng.normal(0, 2, view.shape)
        found.append(np.asarray(np.rint(noisy).clip(0, 255), np.uint8))
    return found


def words(model: Model, subjects: Sequence[str], side: int = 200) -> Picture:
    """No map, no camera: a subject each, the styles in turn, as ``sdxs-live image -`` paints them."""
    known = model.about["styles"]
    styles = [(each["name"], each["prompt"]) for each in (known[place % len(known)] for place in range(len(subjects)))]
    painted = [
        paint_still(None, model, model.defaults.replace(prompt=f"{subject}, {prompt}", seed=place))
        for place, (subject, (_, prompt)) in enumerate(zip(subjects, styles, strict=True))
    ]
    labels = [f"{subject}, {style.lower()}" for subject, (style, _) in zip(subjects, styles, strict=True)]
    tiles = [tile(picture, side, label) for picture, label in zip(painted, labels, strict=True)]
    blank = np.full_like(tiles[0], 255)
    tiles += [blank] * (-len(tiles) % 8)
    return grid([tiles[start : start + 8] for start in range(0, len(tiles), 8)])


def blend(painter: Painter, styles: Sequence[str], side: int = 180) -> Picture:
    """Seven steps along one setting each: from the first of each two ``styles`` to the second, without the photograph's
    colours and with as much of them as a session begins with, then others."""
    shares = [step / (STEPS - 1) for step in range(STEPS)]
    photograph = photographs(painter)["coffee"]
    ways = {}
    for pair in zip(styles[::2], styles[1::2], strict=True):
        one, other = (prompt_of(painter, style) for style in pair)
        for colours in (0.0, painter.init_strength):
            name = " to ".join(pair) + (f", colours {colours:g}" if colours else "")
            ways[name] = [
                settings(painter, one, prompt_b=other, blend=share, init_strength=colours) for share in shares
            ]
    other = prompt_of(painter, styles[1])
    axes = {
        **ways,
        "init_strength": [settings(painter, other, init_strength=share) for share in shares],
        "strength": [settings(painter, other, conditioning_scale=share) for share in shares],
        "seed": [settings(painter, other, seed=seed) for seed in range(STEPS)],
    }
    rows = []
    for name, asked in axes.items():
        numbers = [str(step) for step in range(STEPS)] if name == "seed" else [f"{share:.2f}" for share in shares]
        painted = painter.paint([photograph] * STEPS, asked)
        pairs = zip(painted, [name, *numbers[1:]], strict=True)
        rows.append([tile(each, side, label) for each, label in pairs])
    return grid(rows)


def depth(painter: Painter, styles: Sequence[str], side: int = 200) -> Picture:
    """A row a depth that is known: of rendered scenes, and one that was measured."""
    maps = [cv2.cvtColor(each, cv2.COLOR_GRAY2RGB) for each, _ in known_scenes(DEPTHS, painter.size)]
    rows = []
    for place, shown in enumerate([measured_depth(max(painter.size)), *maps]):
        asked = [
            settings(painter, prompt_of(painter, style), seed=place, control="depth", depth_estimator="given")
            for style in styles
        ]
        painted = painter.paint([shown] * len(asked), asked)
        labels = [style if place == 0 else " " for style in styles]
        pairs = zip(painted, labels, strict=True)
        rows.append([tile(shown, side, " "), *(tile(each, side, label) for each, label in pairs)])
    return grid(rows)


def measured_depth(side: int) -> Picture:
    """The motorcycle's, measured by structured light (Scharstein et al. 2014): its disparity, the middle square."""
    from skimage import data

    disparity = np.asarray(data.stereo_motorcycle()[2], np.float32)
    known = np.isfinite(disparity) & (disparity > 0)
    low, high = np.percentile(disparity[known], (1, 99))
    grey = (np.where(known, (disparity - low) / (high - low), 0).clip(0, 1) * 255).astype(np.uint8)
    whole = cv2.inpaint(grey, (~known).astype(np.uint8), 5, cv2.INPAINT_TELEA)
    left, short = (whole.shape[1] - whole.shape[0]) // 2, whole.shape[0]
    square = cv2.resize(whole[:, left : left + short], (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(square, cv2.COLOR_GRAY2RGB), np.uint8)


def before_after(old: Painter, new: Painter, side: int = 200) -> Picture:
    """A row a style that both have by name: each photograph by the old model and by the new one, with as much of its
    colours as a session of theirs begins with."""
    both = [name for name, _ in new.styles if name.lower() in {each.lower() for each, _ in old.styles}]
    shown = list(photographs(new).items())[:4]
    rows = []
    for row, style in enumerate(both):
        tiles = []
        for place, (_, photograph) in enumerate(shown):
            for painter, when in ((old, "before"), (new, "after")):
                asked = settings(painter, prompt_of(painter, style), seed=place, init_strength=painter.init_strength)
                (painted,) = painter.paint([photograph], [asked])
                tiles.append(tile(painted, side, f"{style}, {when}" if place == 0 else when if row == 0 else " "))
        rows.append(tiles)
    return grid(rows)


def photographs(painter: Painter) -> dict[str, Picture]:
    found = held_out_photographs(HELD_OUT, max(painter.size))
    return {name: fit(each, painter.size) for name, each in found.items()}


def prompt_of(painter: Painter, style: str) -> str:
    """Of a style by its name."""
    known = {name.lower(): prompt for name, prompt in painter.styles}
    if style.strip().lower() not in known:
        raise typer.BadParameter(f"{painter.name} has no style {style!r}; it has {', '.join(known)}.")
    return known[style.strip().lower()]


def main(
    model: Annotated[str, typer.Argument(help="A model's name or directory.")] = "embedded",
    before: Annotated[str, typer.Option(help="An older model, to be shown beside it.")] = "",
    out: Annotated[Path, typer.Option(help="Where the pictures go.")] = Path(__file__).parent,
    only: Annotated[str, typer.Option(help="sheet,film,words,depth,blend,before-after; all if left out.")] = "",
    init_strength: Annotated[float, typer.Option(help="How much of the photographs' colours the sheet lets in.")] = 0.7,
    clip: Annotated[str, typer.Option(help="A film, instead of a photograph moved about.")] = "",
    film_styles: Names = "Comic,Stained glass",
    blend_styles: Names = "Neon,Comic,Ink,Gold,Chalk,Oil",
    depth_styles: Annotated[
        str, typer.Option(help="Styles by name, with commas.")
    ] = "Ink,Neon,Blueprint,Comic,3-D toy",
    subjects: Annotated[str, typer.Option(help="What is painted from words alone.")] = SUBJECTS,
) -> None:
    """Paint and write what was asked for."""
    painter, wanted = Painter(model, device="cpu"), [name.strip() for name in only.split(",") if name.strip()]
    makers = {
        "sheet": lambda: sheet(painter, init_strength),
        "film": lambda: film(painter, clip, film_styles.split(",")),
        "words": lambda: words(
            load(model, backend="eager", device="cpu"), [each.strip() for each in subjects.split(",")]
        ),
        "depth": lambda: depth(painter, depth_styles.split(",")),
        "blend": lambda: blend(painter, [each.strip() for each in blend_styles.split(",")]),
    }
    if before:
        makers["before-after"] = lambda: before_after(Painter(before, device="cpu"), painter)
    for name, make in makers.items():
        if not wanted or name in wanted:
            save(out / f"embedded-{name}.jpg", make())


if __name__ == "__main__":
    typer.run(main)
