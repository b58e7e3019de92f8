"""What every unit has: parameters that are checked, constants of its template, test vectors."""

from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from moesaic.models.bounds import check_range
from moesaic.models.errors import InputError
from moesaic.models.requant import Ints, limits

WORD_BITS = 62
"""Signed bits of a number in a file of vectors, and a bit to spare."""


def wide_bits(data_bits: int) -> int:
    """Return the bits of wide values beside narrow ones of 8 or 16 bits."""
    return 16 if data_bits == 8 else 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Vectors:
    """Cases of a unit: what goes in, and what the model says comes out.

    Parameters
    ----------
    inputs : Ints
        (cases, words of a case)
    outputs : Ints
        (cases, words of a case)
    ports : dict of str to int
        The words that each output of the unit takes in a case, in order.
    """

    inputs: Ints
    outputs: Ints
    ports: dict[str, int]

    @classmethod
    def of(cls, inputs: dict[str, Ints], outputs: dict[str, Ints]) -> "Vectors":
        """Join arrays (cases, ...) side by side, in the order in which they are given."""
        flat_in = [x.reshape(len(x), -1) for x in inputs.values()]
        flat_out = [x.reshape(len(x), -1) for x in outputs.values()]
        return cls(
            inputs=np.concatenate(flat_in, axis=1),
            outputs=np.concatenate(flat_out, axis=1),
            ports={name: x.shape[1] for name, x in zip(outputs, flat_out, strict=True)},
        )


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One unit as C++ for high-level synthesis: a template and its parameters.

    Subclasses add fields, all of them integers, and say what the template ``units/KIND.h.j2`` needs
    beyond them in `constants`.

    Parameters
    ----------
    label : str
        What the name of the C++ namespace begins with; the kind by default.
    """

    kind: ClassVar[str]
    models: ClassVar[str]
    """Where the rule is that the C++ follows."""
    needs: ClassVar[tuple[str, ...]] = ("integers", "streams", "requant")
    """Headers of ``numerics/``, in the order in which they include each other."""

    label: str = ""

    @property
    def name(self) -> str:
        """The C++ namespace, made of the kind and the parameters."""
        if self.label:
            return self.label
        parts = [self.kind]
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "label" and value is not None:
                letters = "".join(word[0] for word in field.name.split("_"))
                text = str(int(value)) if isinstance(value, bool) else str(value)
                parts.append(letters + text.replace(":", "of"))
        return "_".join(parts)

    @property
    def parts(self) -> tuple["Unit", ...]:
        """Units whose headers this one includes."""
        return ()

    def constants(self) -> dict[str, Any]:
        """Return the template's variables."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def files(self) -> dict[str, str]:
        """Return further files that the header includes, by name."""
        return {}

    def vectors(self, seed: int) -> Vectors:
        """Return cases whose outputs are the model's."""
        raise NotImplementedError

    def check(self, name: str, low: int, high: int) -> None:
        """Refuse a field that is no integer in ``low..high``."""
        check_range("", name, getattr(self, name), low, high)

    def check_choice(self, name: str, choices: tuple[Any, ...]) -> None:
        """Refuse a field that is none of `choices`."""
        value = getattr(self, name)
        if isinstance(value, bool) != isinstance(choices[0], bool) or value not in choices:
            raise InputError(
                f"{name} must be one of {', '.join(map(str, choices))}, not {value!r:.60}"
            )


def sample(rng: np.random.Generator, bits: int, shape: tuple[int, ...]) -> Ints:
    """Return signed integers of `bits` bits; some are limits, some have but a few bits."""
    low, high = limits(bits)
    plain = rng.integers(low, high, shape, endpoint=True)
    short = plain >> rng.integers(0, bits, shape)
    edges = rng.choice(np.array([low, low + 1, -1, 0, 1, high - 1, high]), shape)
    return np.choose(rng.choice(3, shape, p=(0.6, 0.3, 0.1)), [plain, short, edges])
