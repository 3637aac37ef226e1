"""Every device of a board beside the others: what each would cost, and which of them intervals can tell apart."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence

LADDER = (1, 2, 4, 8, 16, 32, 64, 128, 256)  # windows a call, at which GPU and CPU are compared
DEFAULT_PRECISION = {"gpu": "fp16", "dla": "fp16", "cpu": "fp32"}
ALL = ("gpu", "cpu", "dla")


class Question:
    """An ONNX model on a board in a mode: predictions on any device, each made once."""

    def __init__(self, board: Any, model: Any, mode: str, runtime: str) -> None:
        from edgehar.artifact.cost import predict_cost

        self.board, self.mode = board, mode
        self._made: Dict[Any, Any] = {}
        self._predict = lambda device, precision, batch, graph, threads: predict_cost(
            board, model, mode, precision, batch, device, graph, threads, runtime)

    def on(self, device: str, precision: str, batch: int = 1, graph: bool = True,
           threads: Optional[int] = None) -> Any:
        """The `Prediction` of one device."""
        key = (device, precision, batch, graph, threads)
        if key not in self._made:
            self._made[key] = self._predict(*key)
        return self._made[key]

    def cpus(self, precision: str, batch: int, threads: Optional[int]) -> List[Any]:
        """One thread, and as many as are fastest where these are more; those asked for alone."""
        if threads:
            return [self.on("cpu", precision, batch, False, threads)]
        cores = self.board.clocks(self.mode).cpu_cores
        found = [self.on("cpu", precision, batch, False, count) for count in (1, 2, 4, 6, 8) if count <= cores]
        best = min(found, key=lambda each: each.seconds.value)
        return found[:1] if best is found[0] else [found[0], best]

    def rows(self, devices: Sequence[str], precisions: Sequence[str], batches: Sequence[int],
             threads: Optional[int]) -> List[Any]:
        """Predictions on every device that has one of `precisions`, or its own where none was asked for."""
        found: List[Any] = []
        for device in devices:
            if device not in self.board.devices:
                continue
            known = self.board.devices[device]["macs_per_cycle"]
            asked = [each for each in precisions if each in known or len(devices) == 1]
            for precision in asked or [DEFAULT_PRECISION[device]] * (not precisions):
                for batch in batches:
                    found += self._device(device, precision, batch, threads, len(devices) == 1)
        return found

    def _device(self, device: str, precision: str, batch: int, threads: Optional[int], alone: bool) -> List[Any]:
        if device == "cpu":
            return self.cpus(precision, batch, threads)
        if device == "gpu":
            return [self.on(device, precision, batch, graph) for graph in (True, False)]
        found = self.on(device, precision, batch)
        return [found] if alone or found.fallen_back < len(found.layers) else []


# ------------------------------------------------------------------ what intervals tell


def verdicts(question: Question, rows: Sequence[Any], precisions: Sequence[str], threads: Optional[int]) -> List[str]:
    """Sentences on GPU or CPU, in time and energy, and on precisions; an order only where intervals lie apart."""
    devices = {each.device for each in rows}
    found = []
    if {"gpu", "cpu"} <= devices:
        gpu = next(each.precision for each in rows if each.device == "gpu")
        cpu = next(each.precision for each in rows if each.device == "cpu")
        for graph in (True, False):
            found.append(_gpu_or_cpu(question, gpu, cpu, graph, threads))
        found.append(_energy(question, gpu, cpu, threads))
    found += [_precisions(question, device, precisions) for device in ("gpu", "cpu", "dla") if device in devices]
    return [sentence for sentence in found if sentence]


def _gpu_or_cpu(question: Question, gpu: str, cpu: str, graph: bool, threads: Optional[int]) -> str:
    """Who is sure to be faster, rung by rung of the ladder of batches."""
    told = []
    for batch in LADDER:
        ours = question.on("gpu", gpu, batch, graph).seconds
        theirs = [each.seconds for each in question.cpus(cpu, batch, threads)]
        told.append("GPU" if all(ours.is_below(each) for each in theirs)
                    else "CPU" if any(each.is_below(ours) for each in theirs) else "inconclusive")
    return "GPU (%s) or CPU, time: %s" % ("CUDA graph" if graph else "one by one", _in_words(told))


def _in_words(told: Sequence[str]) -> str:
    """"inconclusive at batch 1; the GPU wins from batch 16 on": answers of `LADDER`, runs of one answer as one."""
    parts: List[str] = []
    for index, answer in enumerate(told):
        if index and told[index - 1] == answer:
            continue
        last = next((place for place in range(index, len(told)) if told[place] != answer), len(told)) - 1
        where = ("at batch %d" % LADDER[index] if last == index else "from batch %d on" % LADDER[index]
                 if last == len(told) - 1 else "at batches %d to %d" % (LADDER[index], LADDER[last]))
        parts.append("%s %s" % (answer if answer == "inconclusive" else "the %s wins" % answer, where))
    return "; ".join(parts)


def _energy(question: Question, gpu: str, cpu: str, threads: Optional[int]) -> str:
    """Who is sure to need less at the wall, window by window."""
    if "power" not in question.board.fits:
        return ""
    ours = question.on("gpu", gpu).energy_j["wall"]
    theirs = [each.energy_j["wall"] for each in question.cpus(cpu, 1, threads)]
    answer = ("the GPU needs less" if all(ours.is_below(each) for each in theirs)
              else "the CPU needs less" if any(each.is_below(ours) for each in theirs) else "inconclusive")
    return "GPU (CUDA graph) or CPU, energy at the wall: %s at batch 1" % answer


def _precisions(question: Question, device: str, precisions: Sequence[str]) -> str:
    known = [each for each in precisions if each in question.board.devices[device]["macs_per_cycle"]]
    if len(known) < 2:
        return ""
    times = {each: question.on(device, each, 1, device == "gpu", None if device != "cpu" else 1).seconds
             for each in known}
    best = [each for each in known if all(times[each].is_below(times[other]) for other in known if other != each)]
    return "%s, %s: %s at batch 1" % (device.upper(), " or ".join(known), (
        "%s is fastest" % best[0]) if best else "inconclusive")


def may_be_least(values: Sequence[Any]) -> List[bool]:
    """For each estimate, or None: whether no other is sure to be less."""
    known = [each for each in values if each is not None]
    return [value is not None and not any(each.is_below(value) for each in known) for value in values]
