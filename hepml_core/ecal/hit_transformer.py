"""A network that attends to the hits of a shower, with their places, energies and times.

Of 1024 crystals some 45 are hit, and nothing else costs anything. Rows and columns are counted from the seed, which
images have in their middle, so what a place means can be learned: a hit's features are multiplied by those of its row and
column, before hits attend to each other (A. Vaswani and others, arXiv:1706.03762, normalized as in arXiv:2002.04745) and
again before they are added up.

Suffixes: b event of a batch, h hit, f feature.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

LAYERS, WIDTH, HEADS, POOLED = 2, 64, 2, 64
"""Layers of attention, features of a hit, heads of a layer, features of an event."""

TIME_NOISE, TIME_FLOOR = 1.12e-3, 6e-3
"""Expected resolution of a hit's time, TIME_NOISE / energy and TIME_FLOOR added in quadrature, in units of 25 ns and 50 GeV:
35 ns / (energy / 40 MeV) as CMS measured it (arXiv:0911.4044), and 0.15 ns."""
LEAST_ENERGY = 1e-5
MOST_TIME = 0.2
"""Times beyond this, 5 ns, are about the same to the network."""


class HitTransformer(nn.Module):
    """Hits in, one logit per class out."""

    def __init__(self, shape: tuple[int, int], dropout: float, *, use_time: bool) -> None:
        """Build it.

        Args:
            shape: Rows and columns of the image.
            dropout: Share of the features of an event that is left out in training.
            use_time: Whether times are looked at.
        """
        super().__init__()
        self.use_time = use_time
        self.columns = shape[1]
        self.energy = nn.Linear(4, WIDTH)
        self.embedding = nn.Sequential(nn.GELU(), nn.Linear(WIDTH, WIDTH))
        self.factor = _Place(shape, WIDTH, 0.5)
        self.offset = _Place(shape, WIDTH, 0.3)
        self.attention = nn.ModuleList(_Attention() for _ in range(LAYERS))
        self.value = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, POOLED))
        self.weight = _Place(shape, POOLED, 0.4)
        self.pooled = nn.LayerNorm(POOLED)
        self.head = nn.Sequential(nn.Linear(POOLED + 2, POOLED), nn.GELU(), nn.Dropout(dropout), nn.Linear(POOLED, 2))
        if use_time:
            self.time = nn.Linear(4, WIDTH, bias=False)
            # From a network that looks at energies alone, so that times have to prove their worth.
            nn.init.zeros_(self.time.weight)

    def forward(self, crystal_bh: Tensor, energy_bh: Tensor, scaled_bh: Tensor, time_bh: Tensor) -> Tensor:
        """Return logits (event, class).

        Args:
            crystal_bh: Number of each hit's crystal.
            energy_bh: Energies in units of 50 GeV; 0 is no hit.
            scaled_bh: The same, normalized.
            time_bh: Times since the origin, in units of 25 ns.
        """
        real_bh = energy_bh > 0
        of_hits_bhf, event_bf = _energies(energy_bh, scaled_bh)
        hit_bhf = self.energy(of_hits_bhf)
        if self.use_time:
            hit_bhf = hit_bhf + self.time(_times(energy_bh, time_bh))
        place_bh = crystal_bh // self.columns, crystal_bh % self.columns
        hit_bhf = self.embedding(hit_bhf) * (1 + self.factor(*place_bh)) + self.offset(*place_bh)
        for attend in self.attention:
            hit_bhf = attend(hit_bhf, real_bh)
        value_bhf = self.value(hit_bhf) * (1 + self.weight(*place_bh)) * real_bh[:, :, None]
        pooled_bf = self.pooled(value_bhf.sum(1))
        logit_bc: Tensor = self.head(torch.cat([pooled_bf, event_bf.to(pooled_bf.dtype)], 1))
        return logit_bc


def _energies(energy_bh: Tensor, scaled_bh: Tensor) -> tuple[Tensor, Tensor]:
    """Return what energies tell of hits (b, h, f) and of events (b, f), all of the order of one."""
    real_bh = energy_bh > 0
    energy_bh = energy_bh.clamp(min=LEAST_ENERGY)
    total_b1 = (energy_bh * real_bh).sum(1, keepdim=True).clamp(min=LEAST_ENERGY)
    share_bh = energy_bh / total_b1
    of_hits = [scaled_bh, torch.log(energy_bh) / 2 + 2, torch.log(share_bh) / 2, 4 * share_bh]
    return torch.stack(of_hits, 2), torch.cat([torch.log(total_b1), real_bh.sum(1, keepdim=True) / 40], 1)


def _times(energy_bh: Tensor, time_bh: Tensor) -> Tensor:
    """Return what times tell of hits (b, h, f): since the origin and since the event's mean, as such and by their resolution.

    A time that is measured worse than what it may tell is nearer to nothing, as in a mean with what was expected of it.
    """
    width_bh = torch.hypot(TIME_NOISE / energy_bh.clamp(min=LEAST_ENERGY), energy_bh.new_tensor(TIME_FLOOR))
    weight_bh = (energy_bh > 0) / width_bh**2
    mean_b1 = (weight_bh * time_bh).sum(1, keepdim=True) / weight_bh.sum(1, keepdim=True).clamp(min=1e-9)
    both = time_bh, time_bh - mean_b1
    told = [torch.asinh(one / width_bh) for one in both] + [torch.tanh(one / MOST_TIME) for one in both]
    trust_bh = 1 / (1 + (width_bh / MOST_TIME) ** 2)
    return torch.stack(told, 2) * trust_bh[:, :, None]


class _Place(nn.Module):
    """Learned features of a row and a column, added."""

    def __init__(self, shape: tuple[int, int], width: int, spread: float) -> None:
        super().__init__()
        self.row, self.column = (nn.Embedding(count, width) for count in shape)
        for table in (self.row, self.column):
            nn.init.normal_(table.weight, std=spread)

    def forward(self, row_bh: Tensor, column_bh: Tensor) -> Tensor:
        added_bhf: Tensor = self.row(row_bh) + self.column(column_bh)
        return added_bhf


class _Attention(nn.Module):
    """One layer of a transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.query_key_value = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.feed = nn.Sequential(
            nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH)
        )

    def forward(self, hit_bhf: Tensor, real_bh: Tensor) -> Tensor:
        events, hits, _ = hit_bhf.shape
        parts = self.query_key_value(self.norm(hit_bhf)).view(events, hits, 3, HEADS, WIDTH // HEADS)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        # Where there is no hit at all, something must be attended to: what is not a number would not go away.
        mask_bh = real_bh | ~real_bh.any(1, keepdim=True)
        seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask_bh[:, None, None, :])
        hit_bhf = hit_bhf + self.out(seen.transpose(1, 2).reshape(events, hits, WIDTH))
        fed_bhf: Tensor = hit_bhf + self.feed(hit_bhf)
        return fed_bhf
