"""Cross-entropy of softmax: the loss, and the gradient of the logits."""

from moesaic.models.training.builder import Builder, column, full, number
from moesaic.models.training.passes import Combine
from moesaic.models.training.step import Function, Role, Tensor


def overflow(b: Builder) -> None:
    """Append ``overflow``: 1 if a gradient was not finite, and the step must not be kept."""
    b.stage = "optimizer"
    out = b.floats("overflow", 1, 1, Role.NEXT)
    loss = b.step.tensors["loss"]
    b.work(out.name, loss, how=Combine.WATCHED, out=out)


def cross_entropy(b: Builder, logits: Tensor) -> Tensor:
    """Append mean loss and logits' gradient, times the loss scale; return the gradient (fp32).

    The host gives ``labels``, minus one at each row's class and zero elsewhere. The step leaves
    ``loss``, one number.
    """
    b.stage = "forward"
    rows, classes = logits.rows, logits.channels
    labels = b.floats("labels", rows, classes, Role.INPUT)
    largest, sums = b.column("loss.largest", rows), b.column("loss.sum", rows)
    own, logs = b.column("loss.own", rows), b.column("loss.log", rows)
    shares = b.floats("loss.shares", rows, classes)
    b.work(largest.name, logits, row_max=largest)
    b.work("loss.shift", largest, p=number(-1.0), out=largest)
    b.work("loss.exp", logits, q=column(largest), function=Function.EXP, out=shares, row_sum=sums)
    b.work(own.name, logits, p=full(labels), row_sum=own)  # minus the own class's logit
    b.work(logs.name, sums, function=Function.LOG, out=logs)
    b.work("loss.log.own", logs, q=full(own), out=logs)
    b.work("loss.log.shift", largest, p=number(-1.0), q=full(logs), out=logs)
    mean = b.column("loss.mean", 1)
    b.work(mean.name, logs, p=number(1 / rows), row_sum=mean)
    b.work("loss", mean, out=b.floats("loss", 1, 1, Role.NEXT))
    b.stage = "backward"
    b.work("loss.reciprocal", sums, function=Function.RECIPROCAL, out=sums)
    b.work("loss.share", shares, p=column(sums), out=shares)
    gradient = b.floats("loss.gradient", rows, classes)
    b.work(
        gradient.name,
        shares,
        q=full(labels),
        p=number(b.optimiser.loss_scale / rows),
        how=Combine.ADD_MULTIPLY,
        out=gradient,
    )
    return gradient
