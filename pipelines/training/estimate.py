"""What a stage takes, reckoned before anything is fetched: memory of a process, FLOPs, time, disk.

Memory, per process, data parallel (FSDP divides all but the activations by the processes):

    weights      4 bytes a parameter of every network on the device, frozen ones too: the loop keeps them in float32
    gradients    4 bytes a parameter of the player whose turn it is; the largest counts
    AdamW        8 bytes a trained parameter
    average      4 bytes an averaged parameter, where the plan has one
    activations  what autograd keeps (``cost``) in the turn that keeps most, of a micro-batch; half of it in bf16 on a
                 GPU. With gradient checkpointing: what enters each block, and all of the largest block.

Against a tiny network's real step the activations were 2 % low; with checkpointing a third low, as the gradients of
activations come on top there. Work buffers of kernels, the CUDA context (about 1 GiB) and fragmentation are not in it.

Time is FLOPs over the assumed speed: the GPU's peak in bf16 times ``UTILISATION``, an assumption and no measurement.
Data loading, validation and checkpoints are not in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.colours import BAND
from pipelines.errors import TrainingError
from pipelines.training.cost import Cost
from pipelines.training.networks import Networks
from pipelines.training.passes import Pass, Work
from pipelines.training.phase import Plan
from pipelines.training.recipe import Recipe
from pipelines.training.run import STAGES
from pipelines.training.work import work_of

#: Peak FLOP/s in bf16 without sparsity, of the makers' data sheets (SXM, SXM; fp32 accumulation); two CPU cores in fp32
#: at what this project's own networks reached there.
SPEEDS: Mapping[str, float] = {"h100": 989e12, "a100": 312e12, "rtx4090": 165e12, "cpu": 0.2e12}
UTILISATION = 0.35
_FACTORS = {"look": 1, "through": 2, "train": 3}


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes, of one process."""

    weights: int
    gradients: int
    adamw: int
    average: int
    activations: int

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.adamw + self.average + self.activations


@dataclass(frozen=True, kw_only=True)
class PhaseEstimate:
    """``networks``: parameters and whether it trains, by name. ``samples``: gone through in all steps. ``flops``: in
    all; ``seconds`` of one GPU working alone. ``checkpoints``: bytes on disk at most."""

    work: Work
    networks: Mapping[str, tuple[int, bool]]
    memory: Memory
    samples: int
    flops: float
    seconds: float
    checkpoints: int


@dataclass(frozen=True, kw_only=True)
class SamplesEstimate:
    """The teacher's own samples, or encoded pictures, which the first stage that needs them makes."""

    count: int
    flops: float
    seconds: float
    disk: int


def estimate(
    recipe: Recipe, stage: str, *, gpu: str = "h100", processes: int = 1, teacher: str = ""
) -> list[PhaseEstimate]:
    """Each phase of a stage. Raises TrainingError for a GPU, a teacher or a division that isn't known."""
    speed = speed_of(gpu)
    networks = Networks(recipe, teacher)
    return [_phase(work, networks, speed, half=gpu != "cpu", processes=processes) for work in work_of(recipe, stage)]


def estimate_samples(recipe: Recipe, *, gpu: str = "h100", teacher: str = "") -> SamplesEstimate:
    """What making and keeping the teacher's samples takes. Raises TrainingError as ``estimate`` does."""
    networks, plan = Networks(recipe, teacher), recipe.samples
    count = plan.count + plan.held_out
    looks = plan.steps * (2 if plan.guidance != 1 else 1)
    one = looks * networks.cost("teacher U-Net").flops + networks.cost("teacher decoder").flops
    channels, height, width = networks.latents
    disk = count * (4 * channels * height * width + 3 * recipe.size[0] * recipe.size[1])
    return SamplesEstimate(count=count, flops=count * one, seconds=count * one / speed_of(gpu), disk=disk)


def estimate_encoded(recipe: Recipe, *, gpu: str = "h100") -> SamplesEstimate:
    """What encoding the data's pictures and keeping them with their maps takes; drawing or reading them comes on top.

    Raises TrainingError as ``estimate`` does, and for a recipe without any.
    """
    if recipe.encoded is None:
        raise TrainingError(f"The recipe {recipe.name} says nothing of encoded pictures.")
    networks, count = Networks(recipe), recipe.encoded.count + recipe.encoded.held_out
    one = networks.cost("teacher encoder").flops
    channels, height, width = networks.latents
    latents = channels * height * width
    plan = recipe.teacher_plan
    colours = latents if plan is not None and plan.networks.subpixel else latents // BAND**2
    disk = 2 * (latents + latents // BAND**2 + colours) + (3 + 1) * recipe.size[0] * recipe.size[1]
    return SamplesEstimate(count=count, flops=count * one, seconds=count * one / speed_of(gpu), disk=count * disk)


def makers(recipe: Recipe) -> tuple[str | None, str | None]:
    """The stages that make the encoded pictures and the teacher's samples: the first that learn from them."""
    together = recipe.teacher_plan is not None and bool(recipe.teacher_plan.together)
    encoded = {
        "teacher": together,
        "decoder": recipe.decoder.encoded,
        "unet": recipe.unet.together,
        "one-step": bool(recipe.one_step.together),
        "controlnet": recipe.controlnet.encoded,
    }
    others = {each: getattr(recipe, each.replace("-", "_")) for each in ("unet", "controlnet", "gan-finetune")}
    pictures = {"teacher": True, **{each: plan.pictures for each, plan in others.items()}}
    samples = [each for each in STAGES if not encoded.get(each) and not pictures.get(each)]
    return next((each for each in STAGES if encoded.get(each)), None), next(iter(samples), None)


def speed_of(gpu: str) -> float:
    """The assumed FLOP/s. Raises TrainingError."""
    if gpu not in SPEEDS:
        raise TrainingError(f"There is no figure for --gpu {gpu!r}; there are figures for {', '.join(SPEEDS)}.")
    return SPEEDS[gpu] * (UTILISATION if gpu != "cpu" else 1)


def memory_of(work: Work, costs: Mapping[str, Cost], *, half: bool, processes: int = 1) -> Memory:
    """By the rule above. ``half``: activations in bf16."""
    plan, trained = work.plan, {name: costs[name].parameters for name in work.trained}
    share = -(-plan.batch // processes)
    pieces = min(plan.micro_batch or share, share)
    turns = [sum(_kept(each, costs[each.network], plan) for each in turn) for turn in work.turns]
    training = [sum(trained.get(each.network, 0) for each in turn if each.way == "train") for turn in work.turns]
    frozen = sum(costs[name].parameters * times for name, times in work.frozen.items())
    return Memory(
        weights=4 * (sum(trained.values()) + frozen),
        gradients=4 * max(training),
        adamw=8 * sum(trained.values()),
        average=4 * sum(costs[name].parameters for name in work.averaged) if plan.ema else 0,
        activations=round(pieces * max(turns) / (2 if half else 1)),
    )


def _phase(work: Work, networks: Networks, speed: float, *, half: bool, processes: int) -> PhaseEstimate:
    passes = [each for turn in work.turns for each in turn]
    names = dict.fromkeys([*work.trained, *work.frozen, *(each.network for each in passes)])
    ways = {name: {each.way for each in passes if each.network == name} for name in names}
    costs = {name: networks.cost(name, ways[name], work.crop) for name in names}
    again = 1 if work.plan.gradient_checkpointing else 0
    one = sum(
        each.times * costs[each.network].flops * (_FACTORS[each.way] + (again if each.way != "look" else 0))
        for each in passes
    )
    samples = work.plan.steps * work.plan.batch
    shown = {name: (costs[name].parameters, name in work.trained) for name in (*work.trained, *work.frozen)}
    return PhaseEstimate(
        work=work,
        networks=shown,
        memory=memory_of(work, costs, half=half, processes=processes),
        samples=samples,
        flops=one * samples,
        seconds=one * samples / speed,
        checkpoints=_checkpoints(work, work.plan, costs),
    )


def _kept(each: Pass, cost: Cost, plan: Plan) -> float:
    """Bytes that a sample keeps in a pass. One that happens in some steps only counts in full: memory has to do."""
    if each.way == "look":
        return 0.0
    kept = cost.kept if each.way == "train" else cost.through
    if plan.gradient_checkpointing and cost.inputs:
        kept = min(kept, cost.inputs + cost.block)
    return kept * max(each.times, 1.0)


def _checkpoints(work: Work, plan: Plan, costs: Mapping[str, Cost]) -> int:
    """One more than are kept, while it is written: weights and states of what trains, averages, the exported model."""
    trained = sum(costs[name].parameters for name in work.trained)
    averaged = sum(costs[name].parameters for name in work.averaged)
    return (plan.keep + 1) * (12 * trained + (8 if plan.ema else 4) * averaged) + 4 * averaged
