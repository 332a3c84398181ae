"""The recipes known by name: every module here that has a ``RECIPE``. They are made when first asked for."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from pipelines.errors import TrainingError

if TYPE_CHECKING:
    from pipelines.training.recipe import Recipe


class _Recipes(Mapping[str, "Recipe"]):
    @cached_property
    def _made(self) -> dict[str, Recipe]:
        names = sorted(module.name for module in pkgutil.iter_modules(__path__))
        modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
        recipes = [module.RECIPE for module in modules if hasattr(module, "RECIPE")]
        return {recipe.name: recipe for recipe in recipes}

    def __getitem__(self, name: str) -> Recipe:
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)


RECIPES: Mapping[str, Recipe] = _Recipes()


def find_recipe(name: str) -> Recipe:
    """The recipe of that name. Raises TrainingError with the names that there are."""
    try:
        return RECIPES[name]
    except KeyError:
        known = ", ".join(sorted(RECIPES))
        raise TrainingError(f"There is no recipe {name!r}; the recipes are {known}.") from None
