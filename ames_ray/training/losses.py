"""The two losses, as sums: a mean over several workers is a sum over all divided by a count over all.

Source: authors' code. Binary cross-entropy on the similarity logit; and, for a student, the squared error of
its output tokens to the teacher's: matching token, query tokens, gallery tokens, all dimensions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from ames_ray.training.network import by_anchor

if TYPE_CHECKING:
    from torch import Tensor

    from ames_ray.model.ames import AmesOutput
    from ames_ray.training.batch import TripletBatch


def similarity_loss(similarity: Tensor) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy summed over pairs, and how many pairs are on the right side of 0.

    Args:
        similarity: (2B,) logits: positive 0, negative 0, positive 1 …
    """
    logits = similarity.float()
    wanted = torch.tensor((1.0, 0.0), device=logits.device).repeat(len(logits) // 2)
    loss = F.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")
    return loss, ((logits > 0) == (wanted > 0)).sum()


def token_mask(batch: TripletBatch, *, padding_counts: bool) -> Tensor:
    """Which output tokens of each pair are compared: (2B, 1 + Q + T) bool.

    Args:
        batch: What the student saw.
        padding_counts: Also tokens of padding, as in the released trainer.
    """
    query = batch.anchor_valid.repeat_interleave(2, 0)
    matching = query.new_ones(len(query), 1)
    mask = torch.cat((matching, query, by_anchor(batch.others_valid, len(batch))), 1)
    return torch.ones_like(mask) if padding_counts else mask


def token_loss(student: AmesOutput, teacher: AmesOutput, mask: Tensor) -> Tensor:
    """Squared error summed over the marked tokens and all dimensions.

    Args:
        student: Tokens (2B, Q, D) and (2B, T, D).
        teacher: Of the same pairs with Q and T or more; the first ones are compared.
        mask: (2B, 1 + Q + T) bool from `token_mask`.
    """
    query, gallery = student.query.shape[1], student.gallery.shape[1]
    ours = torch.cat((student.matching.unsqueeze(1), student.query, student.gallery), 1)
    theirs = (teacher.matching.unsqueeze(1), teacher.query[:, :query], teacher.gallery[:, :gallery])
    errors = (ours.float() - torch.cat(theirs, 1).float()).square().sum(-1)
    # Not a product: a token of padding may hold anything.
    return errors.masked_fill(~mask, 0).sum()
