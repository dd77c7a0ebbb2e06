"""Convolution, activation, dropout, batch normalization and maximum of 2 x 2 x 2, together.

One after another they make seven tensors of the convolution's size, half a gigabyte each for a batch of movies, and on a
CPU the memory takes longer than the convolution. Here one is kept, and others live for an event or two at a time.

The maximum is taken before the normalization, which is monotonous in each channel; where it falls, the minimum is taken.

Suffixes: b event, c channel, k frame, y row, x column.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Activation = Literal["relu", "elu"]

BYTES_AT_ONCE = 12 << 20
"""Events of so many bytes go through all layers together: few enough that the C library keeps the memory for the next."""
_LAST = torch.channels_last_3d
_POOL = ([2, 2, 2], [2, 2, 2], [0, 0, 0], [1, 1, 1], False)
"""Size, stride, padding, dilation and rounding of the maximum."""


class ConvolutionBlock(nn.Module):
    """Convolution, activation, dropout, batch normalization and maximum of 2 x 2 x 2, of (b, c, k, y, x).

    In training on a CPU, dropout leaves out whole 256ths of the features.
    """

    def __init__(self, channels: int, filters: int, kernel: int, activation: Activation, dropout: float) -> None:
        super().__init__()
        self.convolution = nn.Conv3d(channels, filters, kernel, padding=kernel // 2)
        self.normalization = nn.BatchNorm3d(filters)
        self.activation: Activation = activation
        self.dropout = dropout

    def forward(self, feature_bckyx: Tensor) -> Tensor:
        """Return features of half the frames, rows and columns."""
        if feature_bckyx.device.type != "cpu":
            return self.by_layers(feature_bckyx)
        if self.training:
            return self._together(feature_bckyx)
        size = self.convolution.out_channels * feature_bckyx[0, 0].numel() * feature_bckyx.element_size()
        return torch.cat([self.by_layers(feature_bckyx[some]) for some in _slices(len(feature_bckyx), size)])

    def by_layers(self, feature_bckyx: Tensor) -> Tensor:
        """Apply the layers one after another."""
        active = _activate(self.convolution(feature_bckyx), self.activation)
        return functional.max_pool3d(self.normalization(functional.dropout(active, self.dropout, self.training)), 2)

    def _together(self, feature_bckyx: Tensor) -> Tensor:
        norm, convolution = self.normalization, self.convolution
        mixed = torch.is_autocast_enabled("cpu")
        dtype = torch.get_autocast_dtype("cpu") if mixed else feature_bckyx.dtype
        with torch.autocast("cpu", enabled=False):
            parameters = convolution.weight, convolution.bias, norm.weight, norm.bias
            pooled, mean_c, var_c = _Block.apply(  # type: ignore[no-untyped-call]
                feature_bckyx.to(dtype), *parameters, self.activation, self.dropout, norm.eps
            )
        self._track(mean_c, var_c)
        return pooled  # type: ignore[no-any-return]

    @torch.no_grad()
    def _track(self, mean_c: Tensor, var_c: Tensor) -> None:
        """Move the running statistics of the normalization."""
        norm = self.normalization
        assert norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None  # noqa: PT018
        norm.running_mean.lerp_(mean_c, norm.momentum or 0.0)
        norm.running_var.lerp_(var_c, norm.momentum or 0.0)
        norm.num_batches_tracked += 1


def _activate(value: Tensor, activation: Activation) -> Tensor:
    return functional.relu_(value) if activation == "relu" else functional.elu_(value)


class _Block(torch.autograd.Function):
    """The layers of a ConvolutionBlock on batches of events, with what their gradients need."""

    @staticmethod
    def forward(
        ctx: Any,
        feature: Tensor,
        weight: Tensor,
        bias: Tensor,
        scale_c: Tensor,
        shift_c: Tensor,
        activation: Activation,
        dropout: float,
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the pooled features, and the mean and (unbiased) variance before normalization."""
        weight, bias = weight.to(feature.dtype), bias.to(feature.dtype)
        dropped = round(256 * dropout)
        kept_share = 1 - dropped / 256
        sign_c = torch.where(scale_c < 0, -1, 1).to(feature.dtype)
        falls = bool((scale_c < 0).any())
        kept = _empty(feature, len(weight), 1)
        extreme, index = _empty(feature, len(weight), 2), _empty(feature, len(weight), 2, torch.int64)
        lives = []
        for some in _slices(len(kept), kept[0].nbytes):
            active = _activate(
                functional.conv3d(feature[some], weight, bias, padding=weight.shape[-1] // 2), activation
            )
            if dropped:
                live = _random_bytes(active) >= dropped
                torch.mul(active, live.to(active.dtype), out=kept[some])
                if activation != "relu":
                    lives.append(live)
            else:
                kept[some] = active
            rising = kept[some] * _wide(sign_c) if falls else kept[some]
            extreme[some], index[some] = torch.ops.aten.max_pool3d_with_indices(rising, *_POOL)
        if falls:
            extreme *= _wide(sign_c)
        mean_c, unbiased_c = torch.zeros_like(scale_c), torch.zeros_like(scale_c)
        _, var_c = torch.batch_norm_update_stats(kept, mean_c, unbiased_c, 1.0)
        # Dropout enlarges what it leaves; here the statistics are enlarged instead.
        inverse_c = torch.rsqrt(var_c / kept_share**2 + eps) / kept_share
        factor_c = scale_c * inverse_c
        pooled = torch.addcmul(_wide(shift_c - factor_c * mean_c), extreme.to(factor_c.dtype), _wide(factor_c)).to(
            feature.dtype
        )
        ctx.save_for_backward(feature, weight, kept, extreme, index, factor_c, mean_c, inverse_c, *lives)
        ctx.activation = activation
        statistics = mean_c / kept_share, unbiased_c / kept_share**2
        ctx.mark_non_differentiable(*statistics)
        return pooled, *statistics

    @staticmethod
    def backward(ctx: Any, slope: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the features and parameters."""
        feature, weight, kept, extreme, index, factor_c, mean_c, inverse_c, *lives = ctx.saved_tensors
        exact = factor_c.dtype
        slope = slope.to(exact).contiguous(memory_format=_LAST)
        normal = (extreme.to(exact) - _wide(mean_c)) * _wide(inverse_c)
        shift_slope_c, scale_slope_c = slope.sum((0, 2, 3, 4)), (slope * normal).sum((0, 2, 3, 4))
        # Batch normalization takes from each slope its mean and its part along the normalized feature.
        rows = kept.numel() // len(weight)
        line_c = -factor_c * inverse_c * scale_slope_c / rows
        constant_c = -factor_c * shift_slope_c / rows - line_c * mean_c
        line, constant = _wide(line_c.to(kept.dtype)), _wide(constant_c.to(kept.dtype))
        slope = (slope * _wide(factor_c)).to(kept.dtype)
        weight_slope, bias_slope = torch.zeros_like(weight, dtype=exact), torch.zeros_like(mean_c)
        feature_slope = torch.empty_like(feature) if ctx.needs_input_grad[0] else None
        wanted = [feature_slope is not None, True, True]
        padding = [weight.shape[-1] // 2] * 3
        for number, some in enumerate(_slices(len(kept), kept[0].nbytes)):
            inner = torch.ops.aten.max_pool3d_with_indices_backward(slope[some], kept[some], *_POOL, index[some])
            inner += torch.addcmul(constant, kept[some], line)
            if ctx.activation == "relu":  # What was dropped is 0, as what was negative.
                inner = torch.ops.aten.threshold_backward(inner, kept[some], 0)
            else:
                inner = torch.ops.aten.elu_backward(inner, 1, 1, 1, True, kept[some])
                inner = inner.mul_(lives[number]) if lives else inner
            for_input, for_weight, for_bias = torch.ops.aten.convolution_backward(
                inner, feature[some], weight, [len(weight)], [1] * 3, padding, [1] * 3, False, [0] * 3, 1, wanted
            )
            weight_slope += for_weight
            bias_slope += for_bias
            if feature_slope is not None:
                feature_slope[some] = for_input
        return feature_slope, weight_slope, bias_slope, scale_slope_c, shift_slope_c, None, None, None


def _wide(value_c: Tensor) -> Tensor:
    return value_c.view(1, -1, 1, 1, 1)


def _empty(feature: Tensor, channels: int, pool: int, dtype: torch.dtype | None = None) -> Tensor:
    shape = (len(feature), channels, *(size // pool for size in feature.shape[2:]))
    return torch.empty(shape, dtype=dtype or feature.dtype, memory_format=_LAST)


def _slices(events: int, bytes_per_event: int) -> list[slice]:
    step = max(1, BYTES_AT_ONCE // bytes_per_event)
    return [slice(start, start + step) for start in range(0, events, step)]


def _random_bytes(like: Tensor) -> Tensor:
    """Return random bytes in the shape and order of a tensor; drawing eight at a time makes them cheap."""
    drawn = torch.empty(-(-like.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
    events, channels, *rest = like.shape
    return drawn.view(torch.uint8)[: like.numel()].view(events, *rest, channels).permute(0, 4, 1, 2, 3)
