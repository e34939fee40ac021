"""The networks of a clip, made ready to run by an engine, each in the numbers that suit it there.

The same choices can be tried by several engines (see `fastest`): each is prepared once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch

from spikerec.inference.ready import Engine, Precision, choose_precision, ready
from spikerec.models.base import Network, carries_none
from spikerec.models.carrying import Carry, check_carry


class Prepared(NamedTuple):
    """Networks that are ready to run.

    Attributes:
        engine: the program that computes them.
        precisions: the numbers that each is computed in, by its name.
        networks: by name.
    """

    engine: Engine
    precisions: dict[str, str]
    networks: dict[str, Network]


class Preparation:
    """The choices by which networks are made ready, whatever the engine.

    Args:
        networks: as published, by name; they are left as they are.
        device: where they compute.
        optimise: see `Video`.
        precision: see `Video`.
        carry: see `Video`.

    Raises:
        ConfigError: what is no `Carry`, or a state to carry where no network has one.
    """

    def __init__(
        self,
        networks: Mapping[str, Network],
        device: torch.device,
        *,
        optimise: bool,
        precision: Precision | Literal["auto"],
        carry: Carry,
    ) -> None:
        check_carry(carry)
        self._carries = {name: carry for name, one in networks.items() if one.hop is not None}
        if carry is not None and not self._carries:
            raise carries_none(next(iter(networks.values())))
        self._networks = networks
        self._device = device
        self._optimise = optimise
        self._precision = precision
        self._prepared: dict[Engine, Prepared] = {}

    def by(self, engine: Engine) -> Prepared:
        """Make the networks ready for an engine.

        Raises:
            ConfigError: the engine cannot compute them so; see `ready`.
        """
        if engine not in self._prepared:
            precisions = {
                name: choose_precision(
                    network, self._device, engine, self._precision, self._carries.get(name)
                )
                for name, network in self._networks.items()
            }
            networks = {
                name: ready(
                    network,
                    self._device,
                    optimise=self._optimise,
                    engine=engine,
                    precision=precisions[name],
                    carry=self._carries.get(name),
                )
                for name, network in self._networks.items()
            }
            self._prepared[engine] = Prepared(engine, precisions, networks)
        return self._prepared[engine]
