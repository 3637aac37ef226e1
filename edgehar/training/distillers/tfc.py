"""Time-frequency contrast: first learn, without labels, that a window and its spectrum are the same moment.

Source: Zhang, Zhao, Tsiligkaridis, Zitnik, "Self-Supervised Contrastive Pre-Training for
Time Series via Time-Frequency Consistency" (TF-C), arXiv:2206.08496, 2022, and for
wearables arXiv:2209.00990, whose two streams, one of time and one of frequency, are
pre-trained by contrast. Ours: the time stream is the network itself and the only one that
is kept, the frequency stream a small encoder of amplitudes that is thrown away; views are
the recipe's and a turn, a gain and noise on top. A reconstruction; no published figure is
claimed.
"""

from __future__ import annotations

from typing import Dict, List, Mapping, Tuple

import torch
from torch import Tensor, nn

from edgehar.data.channels import Channel
from edgehar.errors import InputError
from edgehar.training.augment import Augmentation, augment
from edgehar.training.distillers.base import Phase, WithoutTeacher, info_nce, log_amplitudes
from edgehar.training.heads import unit
from edgehar.training.models.base import Model, Outputs

VIEW = Augmentation(rotation_deg=30.0, scale=0.2, jitter=0.1, shift=0.25)


class Tfc(WithoutTeacher):
    """``InfoNCE(time, other view) + InfoNCE(time, frequency)`` over all windows, then ``CE`` of those with a label.

    share: of the epochs that the first stage takes. temperature: of the contrasts. width: of the
    projections that are contrasted.
    """

    paper = "arXiv:2206.08496"
    uses_unlabelled = True

    def __init__(self, share: float = 0.5, temperature: float = 0.2, width: int = 64) -> None:
        super().__init__()
        if not 0 < share < 1 or not temperature > 0:
            raise ValueError("share must be between 0 and 1 and temperature above 0, not %s and %s" % (
                share, temperature))
        if not isinstance(width, int) or width < 1:
            raise ValueError("width must be a whole number above 0, not %s" % width)
        self.share, self.temperature, self.width = share, temperature, width
        self._until = share
        self._student: List[Model] = []  # in a list, and so no module of this one
        self._channels: Tuple[Channel, ...] = ()

    def prepare(self, student: Model, example: Tensor) -> None:
        """Make projections and the encoder of spectra; example: (B, C, T)."""
        self._student, self._channels = [student], student.signal.channels
        bins = len(self._channels) * (example.shape[2] // 2)
        self.of_time = nn.Linear(student.embedding_width, self.width)
        self.of_frequency = nn.Sequential(nn.Flatten(), nn.Linear(bins, 2 * self.width), nn.ReLU(),
                                          nn.Linear(2 * self.width, self.width))

    def phases(self, epochs: int) -> List[Phase]:
        """Contrast first, then labels. Raises InputError for fewer than 2 epochs."""
        if epochs < 2:
            raise InputError("tfc trains in two stages, which takes 2 epochs or more, not %d." % epochs)
        first = min(epochs - 1, max(1, round(self.share * epochs)))
        self._until = first / epochs
        body = sorted({name.split(".")[0] for name, _ in self._student[0].named_parameters()} - {"heads"})
        learning = ("distiller", *("student." + part for part in body))
        return [Phase("contrast", first, learning, ("views", "frequency")),
                Phase("labels", epochs - first, ("student",), ("labels",))]

    def step(self, student: Outputs, x: Tensor, labels: Mapping[str, Tensor], progress: float) -> Dict[str, Tensor]:
        """As `WithoutTeacher.step`: {term: scalar} of labels {task: (B,)}.

        The terms: labels, the contrast of two views, and that of time and frequency; a window without a label
        counts in both contrasts. They are 0 once labels are learnt.
        """
        terms = {"labels": self.label_loss(student, labels)}
        if progress >= self._until:
            nothing = student.embedding.sum() * 0
            return {**terms, "views": nothing, "frequency": nothing}
        mine = unit(self.of_time(student.embedding))
        other = unit(self.of_time(self._student[0](self._second_view(x)).embedding))
        spectrum = unit(self.of_frequency(log_amplitudes(_even(x))))
        return {**terms, "views": info_nce(mine, other, self.temperature),
                "frequency": info_nce(mine, spectrum, self.temperature)}

    def _second_view(self, x: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(int(torch.randint(1 << 31, (1,))))
        return augment(x, self._channels, VIEW, generator)


def _even(x: Tensor) -> Tensor:
    """x (B, C, T) brought to a deviation of 1 over the batch, channel by channel, so that no unit counts more."""
    return x / x.std(dim=(0, 2), keepdim=True).clamp(min=1e-6)
