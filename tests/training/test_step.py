"""The step against numbers that the authors' own trainer computed, and against the plain form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ames_ray.model.dense import dense_forward
from ames_ray.training.batch import TripletBatch
from ames_ray.training.group import Group
from ames_ray.training.losses import token_mask
from ames_ray.training.options import TrainOptions
from ames_ray.training.plan import StepPlan
from ames_ray.training.step import TrainStep
from tests.model.networks import golden, golden_model

ALONE = Group(0, 1, torch.device("cpu"))
PUBLISHED = TrainOptions(padding_counts=True)


def golden_batch() -> tuple[StepPlan, TripletBatch]:
    values = golden("training_step")
    sides = [torch.cat([values[n] for n in names]) for names in (("anchor",), ("positive", "negative"))]
    valid = [
        ~torch.cat([values[f"{n}_padding"] for n in names])
        for names in (("anchor",), ("positive", "negative"))
    ]
    rows = np.arange(15).reshape(5, 3)
    seen = int(values["query_descriptors"]), int(values["gallery_descriptors"])
    return StepPlan(0, 0, rows, 14, 14, *seen), TripletBatch(sides[0], valid[0], sides[1], valid[1])


def golden_step(binary: bool, options: TrainOptions = PUBLISHED) -> TrainStep:
    if not binary:
        return TrainStep(golden_model("ames_full_precision"), options, 10, ALONE)
    teacher = golden_model("ames_full_precision")
    return TrainStep(golden_model("ames_binary"), options, 10, ALONE, teacher)


@pytest.mark.parametrize(("prefix", "tolerance"), [("full_precision", 1e-4), ("binary_distilled", 1e-3)])
def test_three_steps_of_the_authors_trainer(prefix: str, tolerance: float) -> None:
    values = golden("training_step")
    step = golden_step(prefix == "binary_distilled")
    plan, batch = golden_batch()

    def near(found: float, name: str) -> None:
        assert found == pytest.approx(values[f"{prefix}.{name}"].item(), rel=tolerance), name

    for number in range(3):
        result = step(plan, batch)
        near(result.loss, f"loss.{number}")
        near(result.bce, f"bce.{number}")
        assert result.learning_rate == pytest.approx(
            values[f"{prefix}.learning_rate.{number}"].item(), rel=1e-12
        )
        if prefix == "binary_distilled":
            near(result.token_mse, f"token_mse.{number}")
        if number == 0:
            for name, parameter in step.model.named_parameters():
                assert parameter.grad is not None
                near(parameter.grad.norm().item(), f"gradient_norm.{name}")
    for name, parameter in step.model.named_parameters():
        near(parameter.norm().item(), f"parameter_norm_after_3.{name}")


def test_padding_is_left_out_of_the_token_loss() -> None:
    values = golden("training_step")
    plan, batch = golden_batch()
    found = golden_step(True, TrainOptions())(plan, batch)
    wanted = values["binary_distilled.token_mse_without_padding.0"].item()
    assert found.token_mse == pytest.approx(wanted, rel=1e-3)
    assert found.loss == pytest.approx(found.bce + 10 * found.token_mse)


def plain_losses(step: TrainStep, plan: StepPlan, batch: TripletBatch) -> tuple[torch.Tensor, torch.Tensor]:
    """Both losses as the recipe reads: the textbook form, pair by pair and token by token."""
    query = batch.anchor.repeat(2, 1, 1), ~batch.anchor_valid.repeat(2, 1)
    gallery = batch.others, ~batch.others_valid
    teacher = golden_model("ames_full_precision")
    with torch.no_grad():
        theirs = dense_forward(teacher, query[0], gallery[0], query[1], gallery[1])
    q, g = plan.query_seen, plan.gallery_seen
    ours = dense_forward(step.model, query[0][:, :q], gallery[0][:, :g], query[1][:, :q], gallery[1][:, :g])
    errors = []
    for pair in range(len(ours.similarity)):
        kept_query, kept_gallery = ~query[1][pair, :q], ~gallery[1][pair, :g]
        errors.append(ours.matching[pair] - theirs.matching[pair])
        errors.append((ours.query[pair] - theirs.query[pair, :q])[kept_query].flatten())
        errors.append((ours.gallery[pair] - theirs.gallery[pair, :g])[kept_gallery].flatten())
    wanted = torch.cat((torch.ones(len(batch)), torch.zeros(len(batch))))
    return F.binary_cross_entropy_with_logits(ours.similarity, wanted), torch.cat(errors).square().mean()


@pytest.mark.parametrize("options", [TrainOptions(), TrainOptions(accumulate=3)])
def test_the_gradient_is_that_of_the_plain_form(options: TrainOptions) -> None:
    plan, batch = golden_batch()
    plain, step = golden_step(True, options), golden_step(True, options)
    bce, token_mse = plain_losses(plain, plan, batch)
    torch.autograd.backward(bce + 10 * token_mse)
    result = step(plan, batch)
    assert (result.bce, result.token_mse) == pytest.approx((bce.item(), token_mse.item()), rel=1e-4)
    for (name, found), wanted in zip(step.model.named_parameters(), plain.model.parameters(), strict=True):
        assert found.grad is not None
        assert wanted.grad is not None
        torch.testing.assert_close(
            found.grad, wanted.grad, rtol=2e-3, atol=2e-3 * wanted.grad.norm().item(), msg=name
        )


def test_what_stands_in_padding_does_not_matter() -> None:
    plan, batch = golden_batch()
    garbage = replace(
        batch,
        anchor=batch.anchor.masked_fill(~batch.anchor_valid.unsqueeze(-1), torch.nan),
        others=batch.others.masked_fill(~batch.others_valid.unsqueeze(-1), torch.nan),
    )
    assert golden_step(True, TrainOptions())(plan, garbage) == golden_step(True, TrainOptions())(plan, batch)


def test_a_network_without_a_teacher_pays_no_tokens() -> None:
    plan, batch = golden_batch()
    result = golden_step(False)(plan, batch)
    assert (result.token_mse, result.loss) == (0, result.bce)
    assert 0 <= result.accuracy <= 1


def test_weights_stay_where_the_loss_is_not_finite() -> None:
    plan, batch = golden_batch()
    step = golden_step(False)
    before = {name: value.clone() for name, value in step.model.state_dict().items()}
    broken = replace(batch, anchor=batch.anchor.clone())
    broken.anchor[2, 0, 0] = torch.nan
    result = step(plan, broken)
    assert not result.finite
    assert all(torch.equal(before[name], value) for name, value in step.model.state_dict().items())
    assert step.optimizer.param_groups[0]["lr"] == 2e-4


def test_a_long_gradient_is_shortened() -> None:
    plan, batch = golden_batch()
    clipped = golden_step(False, TrainOptions(clip_norm=0.01))
    result = clipped(plan, batch)
    assert result.gradient_norm > 0.1
    total = torch.stack([p.grad.norm() for p in clipped.model.parameters() if p.grad is not None]).norm()
    assert total.item() == pytest.approx(0.01, rel=1e-3)


def test_bfloat16_moves_the_losses_a_little() -> None:
    plan, batch = golden_batch()
    half = golden_step(True, TrainOptions(precision="bfloat16"))(plan, batch)
    full = golden_step(True, TrainOptions())(plan, batch)
    assert half != full
    assert half.loss == pytest.approx(full.loss, rel=0.02)


def shares(plan: StepPlan, batch: TripletBatch, world: int) -> list[tuple[StepPlan, TripletBatch]]:
    numbers = np.arange(len(batch))
    found = []
    for rank in range(world):
        share = replace(plan, triplets=numbers[:, None].repeat(3, 1)).share(rank, world)
        rows = torch.from_numpy(share.triplets[:, 0].copy())
        others = torch.cat((rows, len(batch) + rows))
        anchor, valid = batch.anchor[rows], batch.anchor_valid[rows]
        found.append((share, TripletBatch(anchor, valid, batch.others[others], batch.others_valid[others])))
    return found


def among(batch: TripletBatch, others: TripletBatch, order: list[int]) -> TripletBatch:
    """The negatives of several batches for the anchors of the first, in some order."""
    size = len(batch)
    held = [(b.others[size:], b.others_valid[size:]) for b in (batch, others)]
    return replace(
        batch,
        others=torch.cat((batch.others[:size], *(held[n][0] for n in order))),
        others_valid=torch.cat((batch.others_valid[:size], *(held[n][1] for n in order))),
    )


def rolled(batch: TripletBatch) -> TripletBatch:
    """The same with the next anchor's negative."""
    size = len(batch)
    others, valid = batch.others.clone(), batch.others_valid.clone()
    others[size:], valid[size:] = others[size:].roll(1, 0), valid[size:].roll(1, 0)
    return replace(batch, others=others, others_valid=valid)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("order", [[0, 1], [1, 0], [1, 0, 1]])
def test_of_several_negatives_the_step_takes_the_one_with_the_highest_noisy_logit(
    order: list[int], accumulate: int
) -> None:
    plan, batch = golden_batch()
    both = (batch, rolled(batch))
    step = golden_step(False, TrainOptions(accumulate=accumulate))
    with torch.no_grad():
        seen = [fields(b.prefix(plan.query_seen, plan.gallery_seen)) for b in both]
        logits = torch.stack([step.model(*pairs)[1::2] for pairs in seen], 1)[:, order]
    wins = torch.tensor(order)[(logits + torch.from_numpy(plan.noise(len(order)))).argmax(1)]
    assert 0 < wins.sum() < len(batch)
    chosen = replace(
        batch,
        others=torch.where(pick(wins)[:, None, None], both[1].others, batch.others),
        others_valid=torch.where(pick(wins)[:, None], both[1].others_valid, batch.others_valid),
    )
    wanted = golden_step(False)(plan, chosen)
    found = step(plan, among(*both, order))
    assert found.loss == pytest.approx(wanted.loss, rel=1e-5)
    assert found.gradient_norm == pytest.approx(wanted.gradient_norm, rel=1e-4)


def test_noise_makes_a_draw_in_proportion_to_the_exponential() -> None:
    rows = np.arange(20_000)[:, None].repeat(3, 1)
    plan = StepPlan(2, 5, rows, 4, 4, 4, 4)
    logits = np.array([0.0, 1.0, 2.0])
    shares = np.bincount((logits + plan.noise(3)).argmax(1)) / len(rows)
    np.testing.assert_allclose(shares, np.exp(logits) / np.exp(logits).sum(), atol=0.01)
    parts = [plan.share(rank, 3).noise(3) for rank in range(3)]
    np.testing.assert_array_equal(np.concatenate(parts), plan.noise(3))
    assert not np.array_equal(replace(plan, step=6).noise(3), plan.noise(3))


def fields(batch: TripletBatch) -> tuple[torch.Tensor, ...]:
    """Plain pairs: positive 0, negative 0, positive 1 …"""
    size = len(batch)
    rows = torch.arange(2 * size).view(2, size).T.flatten()
    twice = torch.arange(size).repeat_interleave(2)
    return batch.anchor[twice], batch.others[rows], ~batch.anchor_valid[twice], ~batch.others_valid[rows]


def pick(wins: torch.Tensor) -> torch.Tensor:
    """Which of `others` are to be replaced: no positive."""
    return torch.cat((torch.zeros_like(wins), wins)).bool()


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_shares_add_up_to_the_batch_also_where_a_worker_gets_nothing(world: int) -> None:
    """The loss is a sum over all pairs, so shares of any size, none included, give the same gradient."""
    plan, batch = golden_batch()
    whole = golden_step(False)
    whole(plan, batch)
    gradients: list[torch.Tensor] = []
    for share, part in shares(plan, batch, world):
        step = golden_step(False)
        step(share, part)
        gradients.append(torch.cat([p.grad.flatten() for p in step.model.parameters() if p.grad is not None]))
    wanted = torch.cat([p.grad.flatten() for p in whole.model.parameters() if p.grad is not None])
    torch.testing.assert_close(torch.stack(gradients).sum(0), wanted, rtol=1e-4, atol=1e-6)
    assert sum(share.counts for share, _ in shares(plan, batch, world)) == min(world, 5)


@pytest.mark.slow
def test_a_compiled_network_learns_the_same() -> None:
    plan, batch = golden_batch()
    compiled, plain = golden_step(False, TrainOptions(compile=True)), golden_step(False)
    for _ in range(3):
        assert compiled(plan, batch).loss == pytest.approx(plain(plan, batch).loss, rel=1e-5)


def test_masks_name_the_tokens_that_are_real() -> None:
    _, batch = golden_batch()
    seen = batch.prefix(3, 2)
    mask = token_mask(seen, padding_counts=False)
    assert mask.shape == (10, 6)
    assert mask[:, 0].all()
    for triplet in range(5):
        for kind in range(2):
            pair = mask[2 * triplet + kind]
            assert torch.equal(pair[1:4], seen.anchor_valid[triplet])
            assert torch.equal(pair[4:], seen.others_valid[5 * kind + triplet])
    assert token_mask(seen, padding_counts=True).all()
