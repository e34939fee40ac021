"""Base of losses: a sum of named, weighted terms.

    L = Σ_name  weight_name · term_name(reconstruction, batch)

Each term sees the whole reconstruction and the whole batch, and is logged under its own name. A
term states what it needs, so that a network that cannot provide it is refused before training
starts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from spikerec.describing import Described
from spikerec.errors import ConfigError, errors_about
from spikerec.kinds import found_array
from spikerec.models.base import Network, Reconstruction


class Term(Described, nn.Module, ABC):
    """One term of a loss.

    Class attributes:
        needs: extras of the reconstruction that the term reads (see `Reconstruction.extras`).
        needs_target: whether it reads the true image.

    Args:
        weight: factor in the sum; 0 leaves the term out, unevaluated.

    Raises:
        ConfigError: a negative weight.
    """

    how_to_make: ClassVar[str] = "name a term, as in Loss(l1=L1())."
    needs: ClassVar[tuple[str, ...]] = ()
    needs_target: ClassVar[bool] = True

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        if weight < 0:
            raise ConfigError(f"weight must be ≥ 0, found {weight}.")
        self.weight = weight

    def hide(self, batch: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the batch as the network may see it; the default hides nothing.

        A term that learns without true images may keep a part of the spikes to itself.
        """
        return batch

    @abstractmethod
    def forward(self, reconstruction: Reconstruction, batch: Mapping[str, Any]) -> Tensor:
        """The term's value, unweighted: a scalar, the mean over the batch.

        Args:
            reconstruction: images in intensity (`Network.reconstruct`), not clipped.
            batch: `target` (B, 1, H, W) in [0, 1] where the term needs it, `spikes`
                (B, T, H, W), `light_scale` (B,).
        """


class Loss(Described, nn.Module):
    """A weighted sum of named terms.

    Args:
        terms: name → term. An entry of None drops the term of that name, so that a config may
            switch off what it inherits.
        **named: terms by keyword, in place of `terms` or beside it.

    Raises:
        ConfigError: no term is left, or something else than a term is among them.

    Example:
        >>> from spikerec.losses.pixel import L1
        >>> from spikerec.losses.structure import Edges
        >>> Loss(l1=L1(), edges=Edges(weight=0.5))
        Loss(l1=1 · L1, edges=0.5 · Edges)
    """

    how_to_make: ClassVar[str] = "it weighs named terms, as in Loss(l1=L1())."

    def __init__(
        self, terms: Mapping[str, Term | None] | None = None, **named: Term | None
    ) -> None:
        super().__init__()
        given = {**(terms or {}), **named}
        kept = {name: term for name, term in given.items() if term is not None and term.weight > 0}
        if not kept:
            raise ConfigError("terms holds no term with a weight above 0: add one.")
        self.terms = nn.ModuleDict(kept)

    def __repr__(self) -> str:
        terms = (
            f"{name}={term.weight:g} · {type(term).__name__}"
            for name, term in self.named_terms().items()
        )
        return f"Loss({', '.join(terms)})"

    def forward(
        self, reconstruction: Reconstruction, batch: Mapping[str, Any]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum, and each term's unweighted value, detached, by name.

        Raises:
            ConfigError: a term returns anything but a floating scalar tensor, or, where a network
                learns from it, one that has no gradient.
        """
        total = reconstruction.image.new_zeros(())
        values: dict[str, Tensor] = {}
        for name, term in self.named_terms().items():
            with errors_about(term):
                value = term(reconstruction, batch)
            with errors_about(self):
                _check_value(name, term, value, reconstruction.image)
            total = total + term.weight * value
            values[name] = value.detach()
        return total, values

    def hide(self, batch: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the batch as the network may see it, by all terms (see `Term.hide`)."""
        for term in self.named_terms().values():
            batch = term.hide(batch)
        return batch

    @property
    def hides(self) -> bool:
        """True if a term keeps a part of the spikes from the network."""
        return any(type(term).hide is not Term.hide for term in self.named_terms().values())

    @property
    def needs_extras(self) -> bool:
        """True if a term needs more of the network than the image."""
        return any(term.needs for term in self.named_terms().values())

    def named_terms(self) -> dict[str, Term]:
        """The terms by name, in the order of the config."""
        return {name: term for name, term in self.terms.items() if isinstance(term, Term)}

    def check(self, network: Network, *, has_target: bool) -> None:
        """Refuse a network or data set that does not provide what a term needs.

        Raises:
            ConfigError: naming the term, what it needs, and what there is.
        """
        for name, term in self.named_terms().items():
            missing = [extra for extra in term.needs if extra not in network.provides]
            if missing:
                given = ", ".join(network.provides) or "the image alone"
                raise ConfigError(
                    f"terms.{name} needs {', '.join(missing)} of the network, but "
                    f"{type(network).__name__} provides {given}. Drop the term "
                    f"({name}=None) or choose another model."
                )
            if term.needs_target and not has_target:
                raise ConfigError(
                    f"terms.{name} needs true images, but the training data have none. "
                    "Choose a data set with images, or a self-supervised loss."
                )


def _check_value(name: str, term: Term, value: Any, image: Tensor) -> None:  # noqa: ANN401 (a user's)
    """Refuse what a term has returned if no network can learn from it.

    Raises:
        ConfigError: naming the term.
    """
    learns = torch.is_grad_enabled() and image.requires_grad
    if not isinstance(value, Tensor) or value.ndim or not value.is_floating_point():
        told = f"{found_array(value)}: return the mean over the batch, as .mean() gives it."
    elif learns and value.grad_fn is None:
        told = (
            "a tensor that has no gradient: compute it from the reconstruction, without detach(), "
            "item() or numpy()."
        )
    else:
        return
    raise ConfigError(
        f"terms.{name}: {type(term).__name__} must return a floating scalar tensor that depends on "
        f"the network's output, found {told}"
    )


def clipped(image: Tensor) -> Tensor:
    """The image in [0, 1]; pixels outside pass no gradient, as in the published recipes."""
    return torch.clamp(image, 0.0, 1.0)
