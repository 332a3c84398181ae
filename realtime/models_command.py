"""``sdxs-live models``: what there is to choose from, and fetching it ahead."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from realtime.options import AsJson, Controlnets, Dtype, Loras, Vae

models_app = typer.Typer(
    invoke_without_command=True, help="The models known by name: size, controls, licence, whether the weights are here."
)


@models_app.callback()
def models(context: typer.Context, as_json: AsJson = False) -> None:
    """The models known by name: size, controls, licence, whether the weights are here."""
    if context.invoked_subcommand:
        return
    from pipelines.catalogue import list_presets
    from realtime import terminal

    presets = list_presets()
    if as_json:
        terminal.print_json(presets)
    else:
        Console().print(terminal.models_table(presets))


@models_app.command()
def pull(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model's name, or OWNER/NAME on the hub.")],
    dtype: Dtype = "auto",
    controlnet: Controlnets = None,
    lora: Loras = None,
    vae: Vae = None,
    detector: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Also what draws maps: midas (comes with a depth ControlNet, but not with embedded), zoe, leres, "
            "pidinet, hed, lineart.",
        ),
    ] = None,
) -> None:
    """Fetch a model's files ahead. What broke off goes on where it stopped; what is here is not fetched again."""
    from pipelines.locate import locate
    from realtime.choose import prefers_half

    files = locate(
        name, controlnets=controlnet or (), loras=lora or (), vae=vae, half=prefers_half(device="auto", dtype=dtype)
    )
    found = [files.directory, files.vae, *files.controlnets.values(), *files.loras.values()]
    # The embedded model promises that nothing has to be fetched for it: its depth may also be given.
    has_depth = "depth" in files.controlnets and files.preset.name != "embedded"
    wanted = [*(["midas"] if has_depth else []), *(detector or [])]
    if wanted:
        from pipelines.detectors import detector_weights

        found += [detector_weights(each) for each in wanted]
    _say(f"{files.preset.name} is here:")
    for place in dict.fromkeys(found):
        _say(f"  {place}")


def _say(line: str) -> None:
    Console().print(line, soft_wrap=True, highlight=False, markup=False)
