"""Boards as the cost model knows them: peaks, clocks by power mode, fitted parameters (``*.json``)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Mapping, NamedTuple, Optional, Tuple

import numpy as np

from edgehar.errors import InputError
from edgehar.nearest import did_you_mean
from edgehar.files import PathLike, read_json, schema_fault

BOARDS = Path(__file__).parent
SCHEMA = BOARDS.with_name("board.schema.json")


class BoardClocks(NamedTuple):
    """Clocks of a moment, MHz; `tpcs` of the GPU that have power."""

    gpu_mhz: float
    emc_mhz: float
    cpu_mhz: float
    cpu_cores: int
    dla_mhz: float = 0.0
    tpcs: int = 4


def students_quantile(freedom: int, normal: float = 1.645) -> float:
    """Standard deviations on either side that hold nine of ten, where the deviation itself is of few models."""
    square = normal ** 2
    return normal * (1 + (square + 1) / (4 * freedom) + (5 * square ** 2 + 16 * square + 3) / (96 * freedom ** 2))


def _text(values: Any) -> str:
    return " ".join("%.4g" % value for value in values)


def _numbers(text: str) -> Tuple[float, ...]:
    return tuple(map(float, text.split()))


def on_threads(clocks: BoardClocks, threads: Optional[int]) -> BoardClocks:
    """`clocks` with as many of the mode's cores at work as a CPU engine has threads; with all of them where None."""
    return clocks._replace(cpu_cores=min(threads or clocks.cpu_cores, clocks.cpu_cores))


class Estimate(NamedTuple):
    """A predicted value and the interval that should hold the measured one in nine of ten cases."""

    value: float
    low: float
    high: float

    def is_below(self, other: "Estimate") -> bool:
        """Whether all of this interval lies below all of the other's: only then are the two ranked."""
        return self.high < other.low

    def to_json(self) -> Dict[str, float]:
        """{field: value}, the units as the fields have them."""
        return self._asdict()


@dataclass(frozen=True)
class Fit:
    """Parameters of one device or of its power, as logarithms, and how sure they are.

    sds: how far a parameter differs from one network to the next, as a logarithm; shares:
    the greatest part of a fitted network's time that it decided; noise_sd: of what no
    parameter explains; freedom: the models that told `sds`.
    """

    names: Tuple[str, ...]
    logs: Tuple[float, ...]
    covariance: Tuple[Tuple[float, ...], ...]
    sds: Tuple[float, ...]
    shares: Tuple[float, ...]
    noise_sd: float
    freedom: int
    models: Tuple[str, ...]
    date: str

    @property
    def parameters(self) -> Dict[str, float]:
        """{name: value} on the scale they are used on; `logs` holds their logarithms."""
        return self.named(self.logs)

    def named(self, logs: Any) -> Dict[str, float]:
        """{name: value} of logarithms (p,)."""
        return dict(zip(self.names, np.exp(logs).tolist()))

    def half_width(self, slopes: np.ndarray) -> float:
        """Of the interval of a logarithm that follows those of the parameters by `slopes` (p,)."""
        spread = np.array(self.covariance) + np.diag(np.square(self.sds))
        return students_quantile(self.freedom) * float(np.sqrt(slopes @ spread @ slopes + self.noise_sd ** 2))

    def to_json(self) -> Dict[str, Any]:
        """As `from_json` reads it: a row of numbers is one text, so that the file can be read by people."""
        body = {key: value for key, value in vars(self).items() if key not in ("logs", "covariance", "sds", "shares")}
        parameters = {name: float("%.5g" % value) for name, value in self.parameters.items()}
        return dict(body, parameters=parameters, sds=_text(self.sds), shares=_text(self.shares),
                    covariance=[_text(row) for row in self.covariance])

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Fit":
        """What `to_json` gave."""
        parameters = {name: value["parameters"][name] for name in value["names"]}
        return cls(tuple(parameters), tuple(np.log(list(parameters.values())).tolist()),
                   tuple(map(_numbers, value["covariance"])), _numbers(value["sds"]), _numbers(value["shares"]),
                   value["noise_sd"], value["freedom"], tuple(value["models"]), value["date"])


@dataclass(frozen=True)
class Board:
    """A board as data; make one with `load_board`.

    models: what its device tree may call it. modes: {name: Clocks}. devices: constants of
    "gpu", "dla" and "cpu". fits: {name: Fit}, "gpu", "dla", "cpu-fp32", "cpu-int8", "power".
    rails: idle watts of the module's own rails together, the share of each watt more at the
    wall that they see, and how far off that may be, as a logarithm; empty, as its power, where
    nobody metered it.
    """

    name: str
    title: str
    models: Tuple[str, ...]
    modes: Mapping[str, BoardClocks]
    devices: Mapping[str, Mapping[str, Any]]
    rails: Mapping[str, float]
    fits: Mapping[str, Fit]

    @property
    def fastest(self) -> BoardClocks:
        """The clocks of the power mode with the fastest GPU."""
        return max(self.modes.values(), key=lambda clocks: (clocks.gpu_mhz, clocks.cpu_mhz))

    def clocks(self, mode: str) -> BoardClocks:
        """Raises InputError for a mode that the board has not."""
        if mode not in self.modes:
            raise InputError("%s has no power mode '%s'%s; choose from: %s." % (
                self.name, mode, did_you_mean(mode, self.modes), ", ".join(self.modes)))
        return self.modes[mode]

    def fit_name(self, device: str, precision: str) -> str:
        """The name of the fit for a device; a processor has one for each precision."""
        return "cpu-" + precision if device == "cpu" else device

    def to_json(self) -> Dict[str, Any]:
        """All facts of the board, as its file holds them."""
        return {"name": self.name, "title": self.title, "models": list(self.models),
                "modes": {name: clocks._asdict() for name, clocks in self.modes.items()},
                "devices": self.devices, **({"rails": self.rails} if self.rails else {}),
                "fits": {name: fit.to_json() for name, fit in self.fits.items()}}

    def fit(self, device: str, precision: str) -> Fit:
        """Raises InputError for a precision that the device has not."""
        name = self.fit_name(device, precision)
        if precision not in self.devices[device]["macs_per_cycle"] or name not in self.fits:
            raise InputError("the %s of %s does not run %s; choose from: %s." % (
                device.upper(), self.name, precision, ", ".join(self.devices[device]["macs_per_cycle"])))
        return self.fits[name]


def load_board(name: PathLike) -> Board:
    """A board that ships, by its name, or a board file. Raises InputError where there is neither."""
    path = Path(name)
    shipped = BOARDS / ("%s.json" % name)
    if not path.suffix and not shipped.is_file():
        known = sorted(each.stem for each in BOARDS.glob("*.json"))
        raise InputError("there is no board '%s'%s; choose from: %s, or give a board file that `edgehar calibrate` "
                         "wrote." % (name, did_you_mean(str(name), known), ", ".join(known)))
    value = read_json(path if path.suffix else shipped)
    fault = schema_fault(value, SCHEMA) or _uneven(value["fits"])
    if fault:
        raise InputError("%s is no board file, for it does not fit at %s; make one with `edgehar calibrate`." % (
            name, fault))
    return Board(value["name"], value["title"], tuple(value["models"]),
                 {key: BoardClocks(**mode) for key, mode in value["modes"].items()}, value["devices"],
                 value.get("rails", {}), {key: Fit.from_json(fit) for key, fit in value["fits"].items()})


def _uneven(fits: Mapping[str, Any]) -> str:
    """The fit whose numbers are not one for each of its parameters, "" where all are."""
    for name, fit in fits.items():
        wanted = len(fit["names"])
        rows = [fit["sds"], fit["shares"], *fit["covariance"]]
        if set(fit["names"]) != set(fit["parameters"]) or len(rows) != wanted + 2 or any(
                len(row.split()) != wanted for row in rows):
            return "fits/%s (%d parameters, and other numbers of figures)" % (name, wanted)
    return ""
