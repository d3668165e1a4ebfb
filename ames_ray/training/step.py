"""One step: forward, losses, backward, AdamW; the same whatever the number of workers."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch.nn.parallel import DistributedDataParallel

from ames_ray.errors import ConfigError
from ames_ray.training.losses import similarity_loss, token_loss, token_mask
from ames_ray.training.network import TripletNetwork

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from ames_ray.model.ames import Ames, AmesOutput
    from ames_ray.training.batch import TripletBatch
    from ames_ray.training.group import Group
    from ames_ray.training.options import TrainOptions
    from ames_ray.training.plan import StepPlan


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step found, over all workers.

    Attributes:
        loss: Binary cross-entropy plus the weighted token loss.
        bce: Mean binary cross-entropy over pairs.
        token_mse: Mean squared error of the output tokens; 0 without a teacher.
        accuracy: Share of pairs on the right side of 0.
        learning_rate: That the step was made with.
        gradient_norm: Before clipping; 0 where the loss is not finite.
        finite: Whether the loss and the gradient are; if not, the weights were left alone.
    """

    loss: float
    bce: float
    token_mse: float
    accuracy: float
    learning_rate: float
    gradient_norm: float
    finite: bool


class TrainStep:
    """The network, its teacher, its optimiser and its schedule.

    Args:
        model: Network to train; it is moved to the group's device and put into training mode.
        options: Settings.
        steps: Steps of the whole run, over which the learning rate falls to 0.
        group: The workers.
        teacher: Network whose output tokens the student is to reproduce, or none; `check_teacher` accepts it.
    """

    def __init__(
        self, model: Ames, options: TrainOptions, steps: int, group: Group, teacher: Ames | None = None
    ) -> None:
        self.model = model.to(group.device).train()
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=options.lr, weight_decay=options.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, steps)
        self._options = options
        self._group = group
        self._plain = TripletNetwork(self.model, keep_padding=options.padding_counts)
        self._network = _wrapped(self._plain, options, group)
        self._teacher: TripletNetwork | None = None
        if teacher is not None:
            frozen = teacher.to(group.device).eval().requires_grad_(False)
            self._teacher = TripletNetwork(frozen, keep_padding=options.padding_counts)

    def __call__(self, plan: StepPlan, batch: TripletBatch) -> StepResult:
        """Do one step.

        Args:
            plan: This worker's share.
            batch: Its descriptors.
        """
        self.optimizer.zero_grad()
        batch = self._with_one_negative(plan, batch.to(self._group.device))
        tokens = self._tokens_of_all(plan, batch)
        rate = self.optimizer.param_groups[0]["lr"]
        sums = torch.zeros(3, dtype=torch.float64, device=self._group.device)
        for part, exchange in self._parts(batch):
            with exchange:
                sums += self._backward(plan, part, tokens)
        bce, token_mse, correct = self._group.sum(sums).tolist()
        bce, token_mse = bce / plan.pairs, token_mse / max(tokens, 1)
        loss = bce + self._options.beta * token_mse
        limit = self._options.clip_norm or float("inf")
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), limit).item()
        finite = bool(torch.tensor((loss, norm)).isfinite().all())
        if finite:
            self.optimizer.step()
            self.schedule.step()
        return StepResult(loss, bce, token_mse, correct / plan.pairs, rate, norm, finite)

    def state(self) -> dict[str, Any]:
        """All that a later process needs to go on."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "rng": torch.get_rng_state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["rng"])

    def _tokens_of_all(self, plan: StepPlan, batch: TripletBatch) -> int:
        """Numbers that the token loss is a mean over, on all workers together."""
        if self._teacher is None:
            return 0
        seen = batch.prefix(plan.query_seen, plan.gallery_seen)
        marked = token_mask(seen, padding_counts=self._options.padding_counts).sum()
        return int(self._group.sum(marked * plan.counts).item()) * self.model.options.dim

    def _with_one_negative(self, plan: StepPlan, batch: TripletBatch) -> TripletBatch:
        """Keep of each anchor's negatives one, drawn with a probability in proportion to exp(logit).

        The hardest alone would be too much for a network that knows nothing yet: it stays where it is. Drawn
        so, they are any at first, and nearly always the hardest once the network tells them apart.
        """
        if batch.negatives == 1:
            return batch
        logits = []
        for part in batch.prefix(plan.query_seen, plan.gallery_seen).parts(self._options.accumulate):
            negatives, valid = part.others[len(part) :], part.others_valid[len(part) :]
            with torch.no_grad(), self._arithmetic():
                found: AmesOutput = self._plain(part.anchor, part.anchor_valid, negatives, valid)
            logits.append(found.similarity.float().view(len(part), -1))
        # The largest of logits with Gumbel noise is such a draw.
        noise = torch.from_numpy(plan.noise(batch.negatives)).to(logits[0])
        return batch.with_negative((torch.cat(logits) + noise).argmax(1))

    def _parts(self, batch: TripletBatch) -> list[tuple[TripletBatch, AbstractContextManager[None]]]:
        """Parts of the batch; workers exchange gradients in the last one."""
        parts = batch.parts(self._options.accumulate)
        quiet: list[AbstractContextManager[None]] = [nullcontext() for _ in parts]
        if isinstance(self._network, DistributedDataParallel):
            quiet[:-1] = [self._network.no_sync() for _ in parts[1:]]
        return list(zip(parts, quiet, strict=True))

    def _backward(self, plan: StepPlan, batch: TripletBatch, tokens: int) -> Tensor:
        """Add the gradient of some triplets; returns the sums of the losses and of correct pairs."""
        seen = batch.prefix(plan.query_seen, plan.gallery_seen)
        with self._arithmetic():
            theirs = self._ask_teacher(batch)
            ours = self._forward(self._network, seen, tokens=theirs is not None)
        bce, correct = similarity_loss(ours.similarity)
        errors = bce.new_zeros(())
        if theirs is not None:
            mask = token_mask(seen, padding_counts=self._options.padding_counts)
            errors = token_loss(ours, theirs, mask)
        loss = bce / plan.pairs + self._options.beta * errors / max(tokens, 1)
        # Wrapped networks average gradients over the workers; the loss is a sum over them.
        torch.autograd.backward(loss * plan.counts * self._group.world)
        return torch.stack((bce, errors, correct)).detach().double() * plan.counts

    def _ask_teacher(self, batch: TripletBatch) -> AmesOutput | None:
        if self._teacher is None:
            return None
        with torch.no_grad():
            return self._forward(self._teacher, batch, tokens=True)

    def _forward(self, network: nn.Module, batch: TripletBatch, *, tokens: bool) -> AmesOutput:
        fields = (batch.anchor, batch.anchor_valid, batch.others, batch.others_valid)
        return cast("AmesOutput", network(*fields, tokens))

    def _arithmetic(self) -> AbstractContextManager[object]:
        if self._options.precision == "float32":
            return nullcontext()
        return torch.autocast(self._group.device.type, torch.bfloat16)


def _wrapped(network: nn.Module, options: TrainOptions, group: Group) -> nn.Module:
    if options.compile:
        # Lengths change from step to step; marked so, they do not compile anew each time.
        network = cast("nn.Module", torch.compile(network, dynamic=True))
    if group.world > 1:
        ids = [group.device] if group.device.type == "cuda" else None
        network = DistributedDataParallel(network, device_ids=ids)
    return network


def check_teacher(teacher: Ames, student: Ames) -> None:
    """Refuse a teacher whose tokens the student cannot reproduce.

    Raises:
        ConfigError: Its tokens or descriptors have another width, or it knows another backbone.
    """
    backbones = (teacher.options.backbone, student.options.backbone)
    if all(backbones) and len(set(backbones)) > 1:
        raise ConfigError(
            "the teacher was trained on descriptors of {}, these are of {}".format(*backbones),
            "pass the store or the teacher of the same backbone",
        )
    for name in ("descriptor_dim", "dim"):
        theirs, ours = getattr(teacher.options, name), getattr(student.options, name)
        if theirs != ours:
            raise ConfigError(
                f"the teacher has {name}={theirs}, the network in training {name}={ours}",
                "tokens are compared one by one: both need the same widths",
            )
